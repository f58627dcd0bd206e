"""A story of two users that tests of verification replay, and ways to corrupt its record."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.loadgen.exchange import Exchange, LogEntry

STORY = """
    ADD,a,1000.00
    ADD,b,500.00
    BUY,a,S,100.00
    COMMIT_BUY,a
    QUOTE,b,S
    SELL,a,S,30.00
    BUY,b,T,9.00
    BUY,b,T,9000.00
    SET_BUY_AMOUNT,a,T,50.00
    SET_BUY_TRIGGER,a,T,5.00
    SET_SELL_AMOUNT,a,S,40.00
    SET_SELL_TRIGGER,a,S,20.00
    CANCEL_SET_SELL,b,S
    ADD,a,-1.00
    BUY,b,T,20.00
    DISPLAY_SUMMARY,a
    DUMPLOG,b,./own
    DUMPLOG,./all
"""
"""a ends with 870.00, 5 S, 3 S in a pending sell, 2 S and 50.00 in triggers; b with 480.00 and a pending buy."""

Verified = Callable[..., tuple[int, str]]


def change(answers: Path, number: int, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the recorded answer of one command."""
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    for line in lines:
        if line.get("n") == number:
            edit(line)
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines if line))


def logged(exchange: Exchange, kind: str, number: int) -> LogEntry:
    return next(entry for entry in exchange.log if entry.kind == kind and entry.fields["transactionNum"] == str(number))
