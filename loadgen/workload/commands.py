"""The sixteen commands of the trading interface: their format in a workload file, and their HTTP requests."""

from typing import NamedTuple


class Form(NamedTuple):
    """The format of a command.

    `fields` are those of its line in a workload, in order. `path` is that of its request below the user's; if it ends
    with a slash, the symbol follows. A command that `reads` is a GET.
    """

    fields: tuple[str, ...]
    path: str
    reads: bool = False


COMMANDS: dict[str, Form] = {
    "ADD": Form(("user", "amount"), "/add"),
    "QUOTE": Form(("user", "symbol"), "/quote/", reads=True),
    "BUY": Form(("user", "symbol", "amount"), "/buy"),
    "COMMIT_BUY": Form(("user",), "/commit-buy"),
    "CANCEL_BUY": Form(("user",), "/cancel-buy"),
    "SELL": Form(("user", "symbol", "amount"), "/sell"),
    "COMMIT_SELL": Form(("user",), "/commit-sell"),
    "CANCEL_SELL": Form(("user",), "/cancel-sell"),
    "SET_BUY_AMOUNT": Form(("user", "symbol", "amount"), "/set-buy-amount"),
    "SET_BUY_TRIGGER": Form(("user", "symbol", "price"), "/set-buy-trigger"),
    "CANCEL_SET_BUY": Form(("user", "symbol"), "/cancel-set-buy"),
    "SET_SELL_AMOUNT": Form(("user", "symbol", "amount"), "/set-sell-amount"),
    "SET_SELL_TRIGGER": Form(("user", "symbol", "price"), "/set-sell-trigger"),
    "CANCEL_SET_SELL": Form(("user", "symbol"), "/cancel-set-sell"),
    "DUMPLOG": Form(("user", "filename"), "/dumplog"),
    "DISPLAY_SUMMARY": Form(("user",), "/summary", reads=True),
}

WHOLE_LOG = Form(("filename",), "/dumplog")
"""A DUMPLOG without a user, which is for all users."""

READ_ONLY = frozenset({"DUMPLOG", *(name for name, form in COMMANDS.items() if form.reads)})
"""The commands that change no account."""

LOG_TIMEOUT_S = 300.0
"""The time-out of a DUMPLOG, which reads the whole log."""


def has_money(name: str) -> bool:
    """Return whether a command's value is an amount or a price."""
    return COMMANDS[name].fields[-1] in {"amount", "price"}
