"""Parsers of argument values. All raise ArgumentTypeError, which argparse reports."""

import argparse
import re
from collections.abc import Callable
from typing import TypeVar

from loadgen.client.encoding import HeaderError, Target, UrlError, parse_header, parse_url
from loadgen.results.compare import METRICS
from loadgen.results.thresholds import Gate, GateError, parse_gate
from loadgen.run.processes import can_fork
from loadgen.run.schedule import Ramp, ScheduleError, parse_duration, parse_ramp
from loadgen.workload.streams import Shard

Value = TypeVar("Value")


def _said(parse: Callable[[str], Value], text: str, kind: type[Exception]) -> Value:
    try:
        return parse(text)
    except kind as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def url(text: str) -> Target:
    """Return a server's address."""
    return _said(parse_url, text, UrlError)


def header(text: str) -> tuple[str, str]:
    """Return a header, `NAME: VALUE`."""
    return _said(parse_header, text, HeaderError)


def gate(text: str) -> Gate:
    """Return a gate of a report."""
    return _said(parse_gate, text, GateError)


def names(text: str) -> list[str]:
    """Return users, separated by commas."""
    names = [name for name in text.split(",") if name]
    if not names:
        raise argparse.ArgumentTypeError("must name at least one user")
    return names


def metrics(text: str) -> list[str]:
    """Return metrics of a comparison, separated by commas."""
    names = [name for name in text.split(",") if name]
    if not names or not set(names) <= set(METRICS):
        raise argparse.ArgumentTypeError(f"must be of {', '.join(METRICS)}")
    return names


def run_id(text: str) -> str:
    """Return the prefix of a run's keys."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text):
        raise argparse.ArgumentTypeError("must be 1 to 100 of A-Z a-z 0-9 . _ -")
    return text


def key(text: str) -> str:
    """Return an idempotency key."""
    if not re.fullmatch(r"[ -~]{1,128}", text) or text != text.strip():
        raise argparse.ArgumentTypeError("must be 1 to 128 printable ASCII characters")
    return text


def shard(text: str) -> Shard:
    """Return the part I/N of a run."""
    match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/3, not {text!r}")
    return Shard(int(match[1]) - 1, int(match[2]))


def processes(text: str) -> int:
    """Return a number of processes that this platform supports."""
    count = positive(text)
    if count > 1 and not can_fork():
        raise argparse.ArgumentTypeError("this platform supports one process only: use --shard")
    return count


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    return _number(text, least=1)


def count(text: str) -> int:
    """Return a whole number of at least 0."""
    return _number(text, least=0)


def _number(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
    return number


def seconds(text: str) -> float:
    """Return a time in seconds."""
    return _within(text, 0.001, 86_400, "seconds")


def rate(text: str) -> float:
    """Return a rate in commands per second."""
    return _within(text, 0.001, 1_000_000, "commands a second")


def ratio(text: str) -> float:
    """Return a ratio."""
    return _within(text, 0.001, 1000, "a ratio")


def _within(text: str, least: float, most: float, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"must be {what} from {least:g} to {most:g}, not {text!r}")
    return number


def duration(text: str) -> float:
    """Return a duration in seconds."""
    return _said(parse_duration, text, ScheduleError)


def ramp(text: str) -> Ramp:
    """Return a ramp."""
    return _said(parse_ramp, text, ScheduleError)


def share(text: str) -> float:
    """Return a share of all, 0 to 1."""
    return _within(text, 0, 1, "a share")


def speed(text: str) -> float:
    """Return how many times as fast as recorded."""
    return _within(text, 0.001, 10_000, "a factor")


def label(text: str) -> tuple[str, str]:
    """Return the name and the value of a label."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    return name.strip(), value.strip()
