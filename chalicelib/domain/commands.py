"""The sixteen commands, as values."""

from dataclasses import dataclass
from enum import StrEnum

MAX_TRANSACTION = 2**63 - 1
"""The largest transaction number the store can hold."""


class CommandName(StrEnum):
    """The names of docs/rules.md section 3, as written in the audit log."""

    ADD = "ADD"
    QUOTE = "QUOTE"
    BUY = "BUY"
    COMMIT_BUY = "COMMIT_BUY"
    CANCEL_BUY = "CANCEL_BUY"
    SELL = "SELL"
    COMMIT_SELL = "COMMIT_SELL"
    CANCEL_SELL = "CANCEL_SELL"
    SET_BUY_AMOUNT = "SET_BUY_AMOUNT"
    SET_BUY_TRIGGER = "SET_BUY_TRIGGER"
    CANCEL_SET_BUY = "CANCEL_SET_BUY"
    SET_SELL_AMOUNT = "SET_SELL_AMOUNT"
    SET_SELL_TRIGGER = "SET_SELL_TRIGGER"
    CANCEL_SET_SELL = "CANCEL_SET_SELL"
    DUMPLOG = "DUMPLOG"
    DISPLAY_SUMMARY = "DISPLAY_SUMMARY"


PRICED = frozenset({CommandName.QUOTE, CommandName.BUY, CommandName.SELL})
"""The commands that need the current quote."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong with a field of a command, known before any account is read (docs/rules.md section 6).

    `code` is one of FIELD_CODES; `message` quotes the offending text. `funds` is the amount or price, with two places,
    if it is a decimal that is out of range.
    """

    code: str
    message: str
    funds: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One command, its parameters already checked.

    A command with a `refusal` is recorded but not executed. It has the parameters that were valid, and its file name as
    far as that can be recorded.

    `user` is the account it works on, in whose journal it is recorded. `amount_cents` is the amount, or the price of a
    trigger. `of_all` marks an operator's DUMPLOG of all users. `order` is the order number that a COMMIT_* or CANCEL_*
    names. `key` is the client's idempotency key.
    """

    name: CommandName
    user: str
    transaction: int
    symbol: str | None = None
    amount_cents: int | None = None
    filename: str | None = None
    of_all: bool = False
    key: str | None = None
    order: int | None = None
    refusal: Refusal | None = None
