r"""The legacy quote server: a line out, a line in, and no trust in the second one (SPEC.md section 4).

    ->  ABC,jane\n
    <-  12.50,ABC,jane,1700000000000,IRrR7UeTO35kSWUgG0QJKmB35sL27FKM7AVhP5qpjCg=\n

A price is only ever taken from an answer that is right in every field. All else is a failed try.
"""

import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from chalicelib.clock import Clock
from chalicelib.domain.errors import InvalidAmountError
from chalicelib.domain.money import parse_cents
from chalicelib.domain.quote import Quote
from chalicelib.quotes.errors import BadAnswerError, FailedTryError

MAX_LINE_BYTES = 512
"""The longest answer that is read: twice what its longest fields add up to."""

MAX_CRYPTOKEY_LENGTH = 128

_FIELDS = 5
_TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)
_CRYPTOKEY = re.compile(rf"[!-~]{{1,{MAX_CRYPTOKEY_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a quote server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Return the address that `tcp://HOST:PORT` names; raises ValueError for anything else."""
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if parts.scheme != "tcp" or not host or not port:
            raise ValueError("a host and a port are needed")
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("there is more than a host and a port")
        host.encode("idna")  # else looking it up would raise a ValueError, in the middle of a command
        return cls(host, port)


class LegacySource:
    """Asks a legacy quote server; a connection a question, as it closes them."""

    def __init__(self, address: Address, clock: Clock) -> None:
        self._address = address
        self._clock = clock

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:
        """Ask once; raises FailedTryError unless a good answer is there within the time."""
        end = time.monotonic() + timeout_seconds
        try:
            address = (self._address.host, self._address.port)
            with socket.create_connection(address, timeout=_until(end)) as connection:
                connection.settimeout(_until(end))
                connection.sendall(f"{symbol},{user}\n".encode("ascii"))
                line = _read_line(connection, end)
        except OSError as error:
            raise FailedTryError(f"{type(error).__name__}: {error}") from error
        return parse_answer(line, symbol, user, self._clock())


def parse_answer(line: bytes, symbol: str, user: str, now_ms: int) -> Quote:
    """Return the quote in an answer, given as its line with the line end; raises BadAnswerError.

    It must name the symbol and the user that were asked for, a price as SPEC.md section 1 has it, a time no more than
    60 s ago and a printable crypto key. A time in the future counts as now.
    """
    price, its_symbol, its_user, timestamp, cryptokey = _fields_of(line)
    if its_symbol != symbol:
        raise BadAnswerError("it is for another symbol")
    if its_user != user:
        raise BadAnswerError("it is for another user")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise BadAnswerError("its time is not one in milliseconds")
    if not _CRYPTOKEY.fullmatch(cryptokey):
        raise BadAnswerError("its crypto key is not a printable one")
    try:
        price_cents = parse_cents(price, "price")
    except InvalidAmountError as error:
        raise BadAnswerError(str(error)) from error
    made_ms = int(timestamp)
    quote = Quote(symbol, price_cents, user, made_ms, cryptokey, ahead_ms=max(0, made_ms - now_ms))
    if quote.remaining_ms(now_ms) <= 0:
        raise BadAnswerError("it is too old already; do the clocks agree?")
    return quote


def _fields_of(line: bytes) -> list[str]:
    if len(line) > MAX_LINE_BYTES:
        raise BadAnswerError("the line is too long")
    if not line.endswith(b"\n"):
        raise BadAnswerError("the line has no end")
    if not line.isascii():
        raise BadAnswerError("the line is not ASCII")
    fields = line[:-1].decode("ascii").split(",")
    if len(fields) != _FIELDS:
        raise BadAnswerError(f"the line has {len(fields)} fields and not {_FIELDS}")
    return fields


def _read_line(connection: socket.socket, end: float) -> bytes:
    """Return what comes up to the first line end, all of it when none comes, little more than MAX_LINE_BYTES of it."""
    read = bytearray()
    while b"\n" not in read and len(read) <= MAX_LINE_BYTES:
        connection.settimeout(_until(end))
        some = connection.recv(MAX_LINE_BYTES + 1)
        if not some:
            break
        read += some
    return bytes(read)


def _until(end: float) -> float:
    """Return the seconds until `end`; raises TimeoutError when it has passed."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no time left")
    return seconds
