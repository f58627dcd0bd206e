"""Measures what a quote costs with different try times, for the table in docs/quotes.md.

For each try time it asks its own quote server for quotes, several at a time, without Redis, and prints how long a quote
took, how many questions it cost, and how many could not be had within the limit.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, quantiles

from chalicelib.clock import moment
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.quotes.cache import Claim
from chalicelib.quotes.legacy import Address, LegacySource
from chalicelib.quotes.questions import Questions
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from chalicelib.quotes.shared import SharedQuotes
from infra.host.arguments import add_examples
from infra.local.services.quote_server import server_statistics

_MOST_OPEN = 10_000


class _NoCache:
    """Caches nothing: each quote is asked for."""

    def read(self, symbol: str) -> QuoteAnswer | None:  # noqa: ARG002
        return None

    def claim(self, symbol: str, token: str, lifetime_ms: int) -> tuple[Claim, QuoteAnswer | None]:  # noqa: ARG002
        return Claim.NOBODY_KNOWS, None

    def release(self, symbol: str, token: str, answer: QuoteAnswer | None) -> None:
        pass  # nothing was claimed


@dataclass(frozen=True, slots=True)
class MeasuredTries:
    """The times of quotes with one try time in ms, the questions they cost, and how many could not be had."""

    took_ms: Sequence[float]
    questions: int
    not_had: int

    def line(self, retries: QuoteRetryPolicy) -> str:
        """Return a row of the table."""
        cuts = quantiles(self.took_ms, n=100)
        times = (fmean(self.took_ms), cuts[49], cuts[94], cuts[98])
        cost = self.questions / (len(self.took_ms) + self.not_had)
        return f"| {retries.try_ms} | {' | '.join(f'{time:,.0f}' for time in times)} | {cost:.2f} | {self.not_had} |"


def measure(port: int, retries: QuoteRetryPolicy, count: int, at_once: int) -> MeasuredTries:
    """Ask for `count` quotes, each of its own symbol, `at_once` at a time."""
    questions = Questions(LegacySource(Address("127.0.0.1", port)), lambda _: None, moment, _MOST_OPEN)
    quotes = SharedQuotes(_NoCache(), questions, retries)
    before = server_statistics(port)["hits"]

    def ask(number: int) -> float | None:
        began = time.monotonic()
        try:
            quotes.get(_symbol(number), "measure")
        except QuoteUnavailableError:
            return None
        return (time.monotonic() - began) * 1000

    with ThreadPoolExecutor(at_once) as pool:
        took = list(pool.map(ask, range(count)))
    quotes.finish()
    had = [milliseconds for milliseconds in took if milliseconds is not None]
    return MeasuredTries(had, server_statistics(port)["hits"] - before, len(took) - len(had))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.quote_server.measure", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--delay", default="recorded", help="as of the quote server (%(default)s)")
    parser.add_argument("--fail", default="0.05", help="as of the quote server (%(default)s)")
    parser.add_argument("--try-ms", type=_numbers, default=[30, 50, 100, 250, 1000, 4250], metavar="MS,...")
    parser.add_argument("--limit-ms", type=int, default=QuoteRetryPolicy().limit_ms, help="of one quote (%(default)s)")
    parser.add_argument("--quotes", type=int, default=400, help="for each try time (%(default)s)")
    parser.add_argument("--at-once", type=int, default=20, help="quotes that are asked for at a time (%(default)s)")
    add_examples(parser, "python -m infra.quote_server.measure --delay recorded --try-ms 30,250,4250")
    options = parser.parse_args(arguments)
    print("| try, ms | mean, ms | p50 | p95 | p99 | questions per quote | failed |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with _quote_server(options.delay, options.fail) as port:
        for try_ms in options.try_ms:
            retries = QuoteRetryPolicy(try_ms=try_ms, limit_ms=options.limit_ms)
            print(measure(port, retries, options.quotes, options.at_once).line(retries), flush=True)
    return 0


@contextmanager
def _quote_server(delay: str, fail: str) -> Iterator[int]:
    command = [sys.executable, "-m", "infra.quote_server", "--port", "0", "--delay", delay, "--fail", fail]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline().rpartition(":")[2])
        finally:
            server.terminate()
            server.communicate()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _symbol(number: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "".join(letters[number // 26**place % 26] for place in range(3))


if __name__ == "__main__":
    sys.exit(main())
