"""A network that can be cut: a TCP proxy in front of each replica set member, as a part of the local stack.

    python -m infra.local.services.tcp_proxy --socket DIR/network.sock 21001:21011 21002:21012 21003:21013

Each FRONT:BACK listens on FRONT and connects to BACK. Over the socket it takes one line of JSON at a time and answers
`{}`: `{"cut": BACK, "from": "all"}`, `{"cut": BACK, "from": "day-trading"}`, `{"delay": BACK, "ms": 100}` or
`{"heal": BACK}`.

A cut works like an unplugged cable: nothing arrives in either direction, and nobody is told. Connections stay open, and
new ones are accepted and never answered. After healing, data in flight arrives late, as with TCP.

The members of a set find each other through the same proxies. Who speaks says its name in its first message: the app's
clients have the application name `day-trading NAME`, which tells them from members and one server from another. A cut
is from all, or from those whose application name, with the zero after it, begins with what it says: from all servers,
or from one.

With a delay, everything sent to or by a member arrives that much later, in order, as with TCP; what comes while
something is waiting is sent with it, up to twice as late.
"""

import argparse
import asyncio
import contextlib
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from infra.host.arguments import add_examples
from infra.host.ports import HOST
from infra.host.unix_sockets import connect, listen

ALL = "all"
SERVERS = "day-trading"
"""The common prefix of the servers' application names."""

_APPLICATION = re.compile(rb"day-trading[^\0]*\0")
_CHUNK_BYTES = 256 * 1024
_ANSWER_SECONDS = 5.0
_LINE_BYTES = 4_096


class _Strand:
    """One connection: its client, its member, and whether data gets through."""

    def __init__(self, back: int, origin: int | None, application: str) -> None:
        self._back = back
        self._origin = origin
        self._application = application
        self.whole = asyncio.Event()
        self.delay_seconds = 0.0

    def obey(self, cuts: Mapping[int, str], delays: Mapping[int, float]) -> None:
        """Apply the cuts and delays of the members at both ends."""
        self.delay_seconds = max(delays.get(self._back, 0.0), delays.get(self._origin or 0, 0.0))
        cut_from = cuts.get(self._back)
        is_cut_off = cut_from is not None and (cut_from == ALL or self._application.startswith(cut_from))
        if is_cut_off or cuts.get(self._origin or 0) == ALL:
            self.whole.clear()
        else:
            self.whole.set()


class Network:
    """All connections between members and their clients."""

    def __init__(self, backs: Sequence[int]) -> None:
        self._backs = backs
        self._cuts: dict[int, str] = {}
        self._delays: dict[int, float] = {}
        self._strands: set[_Strand] = set()

    def cut(self, back: int, strand: str) -> None:
        """Cut a member off from all or from some servers; raises KeyError for an unknown one."""
        if back not in self._backs or not (strand == ALL or strand.startswith(SERVERS)):
            raise KeyError(back)
        self._cuts[back] = strand
        self._obey()

    def delay(self, back: int, seconds: float) -> None:
        """Delay all data to and from a member; raises KeyError for an unknown one."""
        if back not in self._backs:
            raise KeyError(back)
        self._delays[back] = seconds
        self._obey()

    def heal(self, back: int) -> None:
        """End a member's cut and delay."""
        self._cuts.pop(back, None)
        self._delays.pop(back, None)
        self._obey()

    def _obey(self) -> None:
        for strand in self._strands:
            strand.obey(self._cuts, self._delays)

    async def carry(self, back: int, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        """Carry one connection to a member until both ends have closed it."""
        far_out: asyncio.StreamWriter | None = None
        strand: _Strand | None = None
        try:
            first = await near.read(_CHUNK_BYTES)
            strand = self._strand(back, first)
            await strand.whole.wait()
            far, far_out = await asyncio.open_connection(HOST, back)
            far_out.write(first)
            await asyncio.gather(_pump(near, far_out, strand), _pump(far, near_out, strand))
        except OSError:
            pass  # one end is gone, and so is the connection
        finally:
            if strand is not None:
                self._strands.discard(strand)
            for end in (near_out, far_out):
                if end is not None:
                    end.close()

    def _strand(self, back: int, first: bytes) -> _Strand:
        """Return the type of a connection with this first message: members say in theirs where they listen."""
        origin = next((other for other in self._backs if b":%d\0" % other in first), None)
        name = _APPLICATION.search(first)
        strand = _Strand(back, origin, name[0].decode(errors="replace") if name else "")
        strand.obey(self._cuts, self._delays)
        self._strands.add(strand)
        return strand


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, strand: _Strand) -> None:
    while data := await source.read(_CHUNK_BYTES):
        await asyncio.sleep(strand.delay_seconds)
        await strand.whole.wait()
        target.write(data)
        await target.drain()
    await strand.whole.wait()
    with contextlib.suppress(OSError):
        target.write_eof()


async def serve(pairs: Sequence[tuple[int, int]], socket: Path) -> None:
    """Carry connections until a signal to stop."""
    network = Network([back for _, back in pairs])
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fronts = [
        await asyncio.start_server(partial(network.carry, back), HOST, front, limit=_CHUNK_BYTES, backlog=512)
        for front, back in pairs
    ]

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            writer.write(json.dumps(_obey(network, await reader.readline())).encode() + b"\n")
            with contextlib.suppress(OSError):
                await writer.drain()

    control = await asyncio.start_unix_server(obey, sock=listen(socket), limit=_LINE_BYTES)
    await stop.wait()
    for server in (*fronts, control):
        server.close()


def _obey(network: Network, line: bytes) -> dict[str, str]:
    try:
        request = json.loads(line)
        if "cut" in request:
            network.cut(request["cut"], request["from"])
        elif "delay" in request:
            network.delay(request["delay"], request["ms"] / 1000)
        else:
            network.heal(request["heal"])
    except (ValueError, KeyError, TypeError) as error:
        return {"error": repr(error)}
    return {}


def of_server(name: str) -> str:
    """Return the application name of one server of a stack, with the end that it has in a message."""
    return f"{SERVERS} {name}\0"


def cut(socket: Path, back: int, strand: str) -> None:
    """Cut the member on `back` off from all, or from some servers (SERVERS, of_server); raises OSError."""
    _tell(socket, {"cut": back, "from": strand})


def delay(socket: Path, back: int, milliseconds: int) -> None:
    """Delay everything that the member on `back` sends or gets; raises OSError."""
    _tell(socket, {"delay": back, "ms": milliseconds})


def heal(socket: Path, back: int) -> None:
    """Heal a member's connections; raises OSError."""
    _tell(socket, {"heal": back})


def _tell(socket: Path, request: dict[str, object]) -> None:
    with connect(socket, _ANSWER_SECONDS) as connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answered:
            answer = json.loads(answered.readline() or b'{"error": "no answer"}')
    if "error" in answer:
        raise OSError(answer["error"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.services.tcp_proxy", description=__doc__)
    add_examples(parser, "python -m infra.local.services.tcp_proxy --socket network.sock 27018:27017")
    parser.add_argument("--socket", type=Path, required=True, help="the control socket")
    parser.add_argument("pairs", nargs="+", type=_pair, metavar="FRONT:BACK")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.pairs, options.socket))
    return 0


def _pair(text: str) -> tuple[int, int]:
    front, _, back = text.partition(":")
    return int(front), int(back)


if __name__ == "__main__":
    sys.exit(main())
