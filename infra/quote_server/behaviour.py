"""How slow and unreliable the server is, drawn for each question from a seeded source."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_DELAY_SECONDS = 60.0
MAX_SKEW_MS = 86_400_000

RECORDED = ((0.69, 0.009), (0.14, 1.0), (0.08, 2.0), (0.05, 3.0), (0.04, 4.0))
"""Shares and seconds of the course's quote server, from two recordings of 1,200 and 1,728 answers: 66 to 71 % took
about 9 ms, the others whole seconds."""

_JITTER_SECONDS = 0.003
_NUMBER = r"[0-9]{1,3}(?:\.[0-9]{1,6})?"
_FIXED = re.compile(rf"({_NUMBER})")
_UNIFORM = re.compile(rf"({_NUMBER}):({_NUMBER})")
_EXPONENTIAL = re.compile(rf"exp:({_NUMBER})")

Delay = Callable[[random.Random], float]
"""Draws seconds."""


class Failure(StrEnum):
    """A way to fail."""

    SILENT = "silent"
    """No answer; the connection stays open."""
    RESET = "reset"
    """The connection is reset."""
    GARBAGE = "garbage"
    """A line that does not answer the question."""
    HALF = "half"
    """Only the beginning of the answer; then the connection is closed."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the server treats a question: the delay, and how often and in which ways it fails."""

    delay: Delay
    fail_rate: float = 0.0
    failures: Sequence[Failure] = tuple(Failure)
    skew_ms: int = 0


def parse_delay(text: str) -> Delay:
    """Return the distribution `X` (constant), `A:B` (uniform) or `exp:MEAN` (exponential), in seconds.

    `recorded` is that of the course's quote server. Raises ValueError for anything else, and for values above 60 s;
    longer draws are cut to that.
    """
    if text == "recorded":
        return _recorded
    if match := _FIXED.fullmatch(text):
        low = high = float(match[1])
    elif match := _UNIFORM.fullmatch(text):
        low, high = float(match[1]), float(match[2])
    elif match := _EXPONENTIAL.fullmatch(text):
        low = high = float(match[1])
    else:
        raise ValueError(f"{text!r} is not recorded, X, A:B or exp:MEAN")
    if not low <= high <= MAX_DELAY_SECONDS:
        raise ValueError(f"{text!r} is not from low to high, within {MAX_DELAY_SECONDS:g} s")
    if text.startswith("exp:"):
        return lambda source: min(source.expovariate(1 / high), MAX_DELAY_SECONDS) if high else 0.0
    return lambda source: source.uniform(low, high)


def _recorded(source: random.Random) -> float:
    (seconds,) = source.choices([seconds for _, seconds in RECORDED], [weight for weight, _ in RECORDED])
    return seconds + source.uniform(-_JITTER_SECONDS, _JITTER_SECONDS)


def beginning(answer: bytes) -> bytes:
    """Return an answer without its last field, which cannot be mistaken for the whole."""
    return answer[: answer.rindex(b",")]


def garbage(answer: bytes, source: random.Random) -> bytes:
    """Return a line that resembles the answer more or less and must not be accepted."""
    price, symbol, user, timestamp, cryptokey = answer.rstrip(b"\n").split(b",")
    lies = (
        bytes(source.randrange(256) for _ in range(source.randrange(1, 200))) + b"\n",
        b"9" * 100_000 + b"\n",
        b"\n",
        b",".join((b"-" + price, symbol, user, timestamp, cryptokey)) + b"\n",
        b",".join((b"0.00", symbol, user, timestamp, cryptokey)) + b"\n",
        b",".join((price + b"7", symbol, user, timestamp, cryptokey)) + b"\n",
        b",".join((b"1000000000.01", symbol, user, timestamp, cryptokey)) + b"\n",
        b",".join((price, b"Q" + symbol, user, timestamp, cryptokey)) + b"\n",
        b",".join((price, symbol, user + b"-", timestamp, cryptokey)) + b"\n",
        b",".join((price, symbol, user, b"yesterday", cryptokey)) + b"\n",
        b",".join((price, symbol, user, timestamp, "clé".encode())) + b"\n",
        b",".join((price, symbol, user, timestamp)) + b"\n",
        b",".join((price, symbol, user, timestamp, cryptokey, b"more")) + b"\n",
    )
    return source.choice(lies)
