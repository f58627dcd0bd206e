"""A server that answers every command alike, after a known delay, for measuring load generators.

`python -m loadgen.selftest.stub_server --delay 10:30` prints its port and serves until its standard input closes; then
it prints the 1st to the 99th percentile, in ms, of the duration of its delayed answers by its own clock.
"""

import argparse
import asyncio
import random
import statistics
import sys
from collections.abc import Sequence

from loadgen.examples import show_example

BODY = (
    b'{"command": "ADD", "user": "somebody", "cash": "63511.53", "symbol": "ABC", "shares": 12, '
    b'"price": "10.00", "cost": "120.00", "expires_at": 1790000000000}'
)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay_ms: tuple[float, float], chance: random.Random, took_ms: list[float]) -> None:
        self._took_ms = took_ms
        self._least_s, self._most_s = (each / 1000 for each in delay_ms)
        self._chance = chance
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            start = head.find(b"\r\ncontent-length:")
            length = 0 if start < 0 else int(head[start + 17 :].split(b"\r\n", 1)[0])
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._answer()

    def _answer(self) -> None:
        assert self._transport is not None
        if self._most_s <= 0:
            self._transport.write(_ANSWER)
            return
        delay_s = self._chance.uniform(self._least_s, self._most_s)
        loop = asyncio.get_running_loop()
        loop.call_later(delay_s, self._write, loop.time())

    def _write(self, received_s: float) -> None:
        assert self._transport is not None
        self._transport.write(_ANSWER)
        self._took_ms.append((asyncio.get_running_loop().time() - received_s) * 1000)


async def serve(delay_ms: tuple[float, float], port: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    chance = random.Random(1)  # noqa: S311 (the same delays each time; no secret)
    took_ms: list[float] = []
    server = await loop.create_server(lambda: Stub(delay_ms, chance, took_ms), "127.0.0.1", port, backlog=1024)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
    if len(took_ms) > 1:
        print(*(f"{cut:.3f}" for cut in statistics.quantiles(took_ms, n=100)), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.selftest.stub_server", description=__doc__)
    show_example(parser, "python -m loadgen.selftest.stub_server --port 8000 --delay 20:58")
    parser.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    parser.add_argument("--delay", type=_delay, default=(0.0, 0.0), metavar="A:B", help="in ms, uniformly from A to B")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.delay, options.port))


def _delay(text: str) -> tuple[float, float]:
    least, _, most = text.partition(":")
    return float(least), float(most or least)


if __name__ == "__main__":
    main()
