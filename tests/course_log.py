"""The course's description of a log file, in our own words, without its limits on timestamps."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from chalicelib.domain.commands import CommandName

_GIVEN = "timestamp server transactionNum command username? stockSymbol? filename? funds?"
CHILDREN = {
    "userCommand": _GIVEN,
    "systemEvent": _GIVEN,
    "errorEvent": f"{_GIVEN} errorMessage?",
    "debugEvent": f"{_GIVEN} debugMessage?",
    "quoteServer": "timestamp server transactionNum price stockSymbol username quoteServerTime cryptokey",
    "accountTransaction": "timestamp server transactionNum action username funds",
}

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII).fullmatch
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", re.ASCII).fullmatch


def _is_positive(text: str) -> bool:
    return _INTEGER(text) is not None and int(text) > 0


def _is_anything(_: str) -> bool:
    return True


TYPES: dict[str, Callable[[str], object]] = {
    "timestamp": _INTEGER,
    "quoteServerTime": _INTEGER,
    "transactionNum": _is_positive,
    "command": lambda text: text in {str(name) for name in CommandName},
    "stockSymbol": re.compile(r"[A-Z]{1,3}", re.ASCII).fullmatch,
    "funds": _DECIMAL,
    "price": _DECIMAL,
}
"""The check of a child's text; children not listed may have any text."""


def problems(log: Any) -> Iterator[str]:
    """Yield what is wrong with a log, given as its root element."""
    if log.tag != "log":
        yield f"the root is {log.tag}"
    for event in log:
        if event.tag not in CHILDREN:
            yield f"there is no event {event.tag}"
            continue
        allowed = {name.rstrip("?") for name in CHILDREN[event.tag].split()}
        needed = {name for name in CHILDREN[event.tag].split() if not name.endswith("?")}
        names = [child.tag for child in event]
        if len(set(names)) < len(names) or not needed <= set(names) <= allowed:
            yield f"{event.tag} has {names}"
        for child in event:
            if not TYPES.get(child.tag, _is_anything)(child.text or ""):
                yield f"{event.tag} has {child.text!r} as its {child.tag}"
