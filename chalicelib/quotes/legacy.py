r"""The legacy quote server: one line out, one line in, which is not trusted (docs/rules.md section 4).

    ->  ABC,jane\n
    <-  12.50,ABC,jane,1700000000000,IRrR7UeTO35kSWUgG0QJKmB35sL27FKM7AVhP5qpjCg=\n

Quote servers differ in how they write the second line. Parsing is lenient where that cannot change a price: the line
may end with LF, CRLF or the connection, fields may have blanks around them, a price may have more than two decimal
places if the rest are zeros, and the server's time may be any number. Anything else is a failed try.
"""

import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from chalicelib.clock import monotonic_seconds
from chalicelib.domain.money import MAX_CENTS
from chalicelib.domain.quote import Quote
from chalicelib.quotes.errors import BadAnswerError, FailedTryError

MAX_LINE_BYTES = 512
"""The longest answer that is read, including its line end: twice the sum of its longest fields."""

MAX_CRYPTOKEY_LENGTH = 128

_FIELDS = 5
_PRICE = re.compile(r"([0-9]{0,12})(?:\.([0-9]{0,2})0*)?", re.ASCII)
_TIME = re.compile(r"([+-]?[0-9]{1,18})(?:\.[0-9]*)?", re.ASCII)
_CRYPTOKEY = re.compile(rf"[!-~]{{1,{MAX_CRYPTOKEY_LENGTH}}}", re.ASCII)
_BLANKS = " \t\r\0"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a quote server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Return the address in `tcp://HOST:PORT`; raises ValueError for anything else."""
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if parts.scheme != "tcp" or not host or not port:
            raise ValueError("needs a host and a port")
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("has more than a host and a port")
        host.encode("idna")  # otherwise the lookup would raise a ValueError in the middle of a command
        return cls(host, port)


class LegacySource:
    """Asks a legacy quote server, one connection per question: the server closes it after each."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:
        """Ask once; raises FailedTryError unless a valid answer arrives in time."""
        end = monotonic_seconds() + timeout_seconds
        try:
            address = (self._address.host, self._address.port)
            with socket.create_connection(address, timeout=_until(end)) as connection:
                connection.settimeout(_until(end))
                connection.sendall(f"{symbol},{user}\n".encode("ascii"))
                line = _read_line(connection, end)
        except OSError as error:
            raise FailedTryError(f"{type(error).__name__}: {error}") from error
        return parse_answer(line, symbol, user)


def parse_answer(line: bytes, symbol: str, user: str) -> Quote:
    """Return the quote in an answer, with or without its line end; raises BadAnswerError.

    The answer must name the symbol and the user asked for, a price above 0 that is exact in cents, a number as its time
    and a printable crypto key.
    """
    price, its_symbol, its_user, its_time, cryptokey = _fields_of(line)
    if its_symbol != symbol:
        raise BadAnswerError("it is for another symbol")
    if its_user != user:
        raise BadAnswerError("it is for another user")
    if (server_time := _TIME.fullmatch(its_time)) is None:
        raise BadAnswerError("its time is not a number")
    if not _CRYPTOKEY.fullmatch(cryptokey):
        raise BadAnswerError("its crypto key is not printable")
    return Quote(symbol, _cents_of(price), user, int(server_time[1]), cryptokey)


def _cents_of(price: str) -> int:
    match = _PRICE.fullmatch(price)
    if match is None or not (match[1] or match[2]):
        raise BadAnswerError("its price is not exact in cents")
    cents = int(match[1] or "0") * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 < cents <= MAX_CENTS:
        raise BadAnswerError("its price is not above 0 and at most 1000000000.00")
    return cents


def _fields_of(line: bytes) -> list[str]:
    if len(line) > MAX_LINE_BYTES:
        raise BadAnswerError("the line is too long")
    if not line.isascii():
        raise BadAnswerError("the line is not ASCII")
    fields = [field.strip(_BLANKS) for field in line.removesuffix(b"\n").decode("ascii").split(",")]
    if len(fields) != _FIELDS:
        raise BadAnswerError(f"the line has {len(fields)} fields and not {_FIELDS}")
    return fields


def _read_line(connection: socket.socket, end: float) -> bytes:
    """Return the data up to the first line end; all of it if there is none, but little more than MAX_LINE_BYTES.

    Data after the line end is ignored: whether any has arrived yet is chance.
    """
    read = bytearray()
    while b"\n" not in read and len(read) <= MAX_LINE_BYTES:
        connection.settimeout(_until(end))
        some = connection.recv(MAX_LINE_BYTES + 1)
        if not some:
            break
        read += some
    line, end_of_line, _ = bytes(read).partition(b"\n")
    return line + end_of_line


def _until(end: float) -> float:
    """Return the seconds until `end`; raises TimeoutError when it has passed."""
    seconds = end - monotonic_seconds()
    if seconds <= 0:
        raise TimeoutError("no time left")
    return seconds
