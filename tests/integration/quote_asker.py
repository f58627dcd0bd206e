"""A process that asks for one quote from many threads at once, on command.

python -m tests.integration.quote_asker SYMBOL THREADS
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from chalicelib.config.settings import read_settings
from chalicelib.connections import connect_redis
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.runtime import cached_in_process, connect_quotes


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(symbol: str, threads: int) -> None:
    """Say `ready`, wait for a line, ask, and print what each thread got."""
    settings = read_settings(os.environ)
    quotes = cached_in_process(connect_quotes(connect_redis(settings), settings, lambda _: None), settings)
    told = Barrier(threads + 1)

    def ask(number: int) -> dict[str, Any]:
        told.wait()
        try:
            answer = quotes.get(symbol, f"user{number}")
        except QuoteUnavailableError as error:
            return {"error": str(error)}
        return {"price": answer.quote.price_cents, "user": answer.quote.user, "cached": answer.cached}

    with ThreadPoolExecutor(threads) as pool:
        answers = [pool.submit(ask, number) for number in range(threads)]
        _say("ready")
        sys.stdin.readline()
        told.wait()
        _say(json.dumps([answer.result() for answer in answers]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
