"""Writes journal entries as the XML events of docs/rules.md section 6.

It takes entries in the store's format (`chalicelib/store/documents.py` names the fields): a log has millions, and
turning each into objects first costs three times what writing the text does. `docs/audit-log.xsd` is the schema.
"""

import re
from functools import lru_cache
from typing import Any

from chalicelib.store.documents import Document

HEAD = '<?xml version="1.0"?>\n<log>\n'
TAIL = "</log>\n"

_ODD = re.compile(r"[^\n\t !-%'-;=?-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_REPLACED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


def escaped(text: str) -> str:
    """Return text as written in an XML element; U+FFFD replaces characters that XML does not allow."""
    return _ODD.sub(_replacement, text) if _ODD.search(text) else text


def _replacement(match: re.Match[str]) -> str:
    return _REPLACED.get(match[0], "\N{REPLACEMENT CHARACTER}")


_escaped_server = lru_cache(maxsize=1024)(escaped)


def events_of(user: str, entry: Document) -> list[str]:
    """Return the events of an entry of a user's journal, one line each, in the order in which they happened.

    Orders are expired before the command is decided, so their events come first. The cash moved by an expiry or a
    firing has the number of the transaction that caused it.
    """
    transaction: int = entry["tx"]
    head = f"<timestamp>{entry['at']}</timestamp><server>{_escaped_server(entry['srv'])}</server><transactionNum>"
    caused: list[Document] = entry.get("ev", ())
    events = [line for event in caused if "expired" in event for line in _expired(head, user, event)]
    given = ""
    if "cmd" in entry:
        given = _given(user, entry)
        events.append(f"<userCommand>{head}{transaction}</transactionNum>{given}</userCommand>\n")
    cause = transaction
    for event in caused:
        if "hit" in event:
            events.append(_quote_server(head, event.get("tx", transaction), event))
        elif "fired" in event:
            cause = event["tx"]
            events.append(_system_event(head, user, event["fired"], cause, event["sym"], event["price"]))
        elif "expired" not in event:
            action = "add" if "add" in event else "remove"
            events.append(_account_transaction(head, user, cause, action, event[action]))
    if "out" in entry:
        why = f"<errorMessage>{entry['out']}: {escaped(entry['msg'])}</errorMessage>"
        events.append(f"<errorEvent>{head}{transaction}</transactionNum>{given}{why}</errorEvent>\n")
    return events


def _given(user: str, entry: Document) -> str:
    """Return the command with its parameters; missing ones are left out."""
    given = f"<command>{entry['cmd']}</command>"
    if not entry.get("all"):
        given += f"<username>{user}</username>"
    if "sym" in entry:
        given += f"<stockSymbol>{entry['sym']}</stockSymbol>"
    if "file" in entry:
        given += f"<filename>{escaped(entry['file'])}</filename>"
    if "amt" in entry:
        given += f"<funds>{_money(entry['amt'])}</funds>"
    elif "giv" in entry:
        given += f"<funds>{entry['giv']}</funds>"
    return given


def _expired(head: str, user: str, event: Document) -> list[str]:
    lines = [_system_event(head, user, event["expired"], event["tx"], event["sym"], event["value"])]
    if event["expired"] == "BUY":
        lines.append(_account_transaction(head, user, event["tx"], "add", event["value"]))
    return lines


def _system_event(head: str, user: str, command: str, transaction: int, symbol: str, cents: int) -> str:
    return (
        f"<systemEvent>{head}{transaction}</transactionNum><command>{command}</command><username>{user}</username>"
        f"<stockSymbol>{symbol}</stockSymbol><funds>{_money(cents)}</funds></systemEvent>\n"
    )


def _account_transaction(head: str, user: str, transaction: int, action: str, cents: int) -> str:
    return (
        f"<accountTransaction>{head}{transaction}</transactionNum><action>{action}</action>"
        f"<username>{user}</username><funds>{_money(cents)}</funds></accountTransaction>\n"
    )


def _quote_server(head: str, transaction: int, event: Document) -> str:
    return (
        f"<quoteServer>{head}{transaction}</transactionNum><price>{_money(event['price'])}</price>"
        f"<stockSymbol>{event['hit']}</stockSymbol><username>{event['user']}</username>"
        f"<quoteServerTime>{event['time']}</quoteServerTime>"
        f"<cryptokey>{escaped(event['crypto'])}</cryptokey></quoteServer>\n"
    )


def _money(cents: Any) -> str:
    """Return an amount greater than 0 like `format_cents`, in half the time."""
    return f"{cents // 100}.{cents % 100:02d}"
