"""Entries spelled out as events: what stands in them, in which order, and that it is always valid."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree  # type: ignore[import-untyped]

from chalicelib.audit.events import HEAD, TAIL, escaped, events_of
from chalicelib.domain.commands import MAX_TRANSACTION, CommandName
from chalicelib.domain.journal import OK, CashMoved, Entry, Event, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote
from chalicelib.store.documents import entry_document

AT = 1_700_000_000_000
SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[2] / "docs/audit-log.xsd"))


def entry(command: CommandName | None = CommandName.ADD, *events: Event, **fields: Any) -> Entry:
    given: dict[str, Any] = {
        "transaction": 7,
        "timestamp_ms": AT,
        "symbol": None,
        "amount_cents": None,
        "filename": None,
        "of_all": False,
        "key": "k",
        "outcome": OK,
        "message": None,
        "cash_cents": 0,
        "result": {},
    }
    return Entry(command=command, events=events, **{**given, **fields})


def told(made: Entry, user: str = "jane", server: str = "srv") -> list[tuple[str, dict[str, str]]]:
    """Return the events of an entry, kind and fields, after validating them as a log."""
    lines = events_of(user, entry_document(made, b"attempt", server))
    root = etree.fromstring((HEAD + "".join(lines) + TAIL).encode())
    SCHEMA.assertValid(root)
    assert len(root) == len(lines)
    return [(event.tag, {field.tag: field.text for field in event}) for event in root]


HEAD_FIELDS = {"timestamp": str(AT), "server": "srv", "transactionNum": "7"}


def test_a_command_stands_before_what_it_caused() -> None:
    hit = QuoteHit(Quote("ABC", 1050, "jane", AT - 5, "key="))
    buy = entry(CommandName.BUY, hit, CashMoved("remove", 2100), symbol="ABC", amount_cents=3005)
    given = {"command": "BUY", "username": "jane", "stockSymbol": "ABC", "funds": "30.05"}
    quote = {"price": "10.50", "stockSymbol": "ABC", "username": "jane", "quoteServerTime": str(AT - 5)}
    assert told(buy) == [
        ("userCommand", {**HEAD_FIELDS, **given}),
        ("quoteServer", {**HEAD_FIELDS, **quote, "cryptokey": "key="}),
        ("accountTransaction", {**HEAD_FIELDS, "action": "remove", "username": "jane", "funds": "21.00"}),
    ]


def test_a_rejection_repeats_the_command_and_says_why() -> None:
    made = entry(CommandName.BUY, symbol="ABC", amount_cents=1, outcome="insufficient_funds", message="too <little>")
    (_, command), (kind, error) = told(made)
    assert kind == "errorEvent"
    assert error == {**command, "errorMessage": "insufficient_funds: too <little>"}


def test_what_had_expired_stands_before_the_command_with_its_own_number() -> None:
    expired = (OrderExpired(CommandName.BUY, 3, "ABC", 500), OrderExpired(CommandName.SELL, 4, "DEF", 600))
    made = entry(CommandName.ADD, *expired, CashMoved("add", 100), amount_cents=100)
    assert [(kind, fields["transactionNum"], fields.get("funds")) for kind, fields in told(made)] == [
        ("systemEvent", "3", "5.00"),
        ("accountTransaction", "3", "5.00"),
        ("systemEvent", "4", "6.00"),
        ("userCommand", "7", "1.00"),
        ("accountTransaction", "7", "1.00"),
    ]


def test_what_the_system_does_has_no_command_of_a_user() -> None:
    fired = (TriggerFired(CommandName.SET_BUY_TRIGGER, 5, "ABC", 990), CashMoved("add", 1))
    again = (TriggerFired(CommandName.SET_SELL_TRIGGER, 6, "DEF", 990), CashMoved("add", 2))
    assert [
        (kind, fields["transactionNum"], fields.get("command")) for kind, fields in told(entry(None, *fired, *again))
    ] == [
        ("systemEvent", "5", "SET_BUY_TRIGGER"),
        ("accountTransaction", "5", None),
        ("systemEvent", "6", "SET_SELL_TRIGGER"),
        ("accountTransaction", "6", None),
    ]


def test_a_dumplog_of_all_has_no_username() -> None:
    of_all = told(entry(CommandName.DUMPLOG, filename="log", of_all=True))[0][1]
    assert of_all == {**HEAD_FIELDS, "command": "DUMPLOG", "filename": "log"}
    assert told(entry(CommandName.DUMPLOG, filename="log"))[0][1]["username"] == "jane"


@pytest.mark.parametrize(
    "odd", ["a&b", "<log>", "]]>", "\"quoted'", "größe €", "\U0001f4b0", "&amp;", "line\r\nend", "<!--", "&#0;"]
)
def test_odd_names_and_messages_come_back_as_they_were(odd: str) -> None:
    made = entry(CommandName.DUMPLOG, filename=odd, outcome="no_pending_buy", message=odd)
    (_, command), (_, error) = told(made, server=odd)
    assert (command["filename"], command["server"]) == (odd, odd)
    assert error["errorMessage"] == f"no_pending_buy: {odd}"


@pytest.mark.parametrize("impossible", ["\0", "\x01", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_what_no_xml_can_hold_is_replaced(impossible: str) -> None:
    assert escaped(f"a{impossible}b") == "a\N{REPLACEMENT CHARACTER}b"


@given(st.text(min_size=1))
def test_any_text_is_valid_and_all_of_it_that_xml_can_hold_comes_back(text: str) -> None:
    read = etree.fromstring(f"<a>{escaped(text)}</a>".encode()).text
    assert len(read) == len(text)
    assert all(there in {was, "\N{REPLACEMENT CHARACTER}"} for there, was in zip(read, text, strict=True))


CENTS = st.integers(1, 10**11)
NUMBERS = st.integers(1, MAX_TRANSACTION)
SYMBOLS = st.from_regex(r"[A-Z]{1,3}", fullmatch=True)
USERS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
EVENTS = st.one_of(
    st.builds(CashMoved, st.sampled_from(["add", "remove"]), CENTS),
    st.builds(OrderExpired, st.sampled_from([CommandName.BUY, CommandName.SELL]), NUMBERS, SYMBOLS, CENTS),
    st.builds(TriggerFired, st.just(CommandName.SET_BUY_TRIGGER), NUMBERS, SYMBOLS, CENTS),
    st.builds(QuoteHit, st.builds(Quote, SYMBOLS, CENTS, USERS, st.integers(1, 10**15), TEXTS)),
)


@given(
    made=st.builds(
        entry,
        st.sampled_from(CommandName),
        transaction=NUMBERS,
        symbol=st.none() | SYMBOLS,
        amount_cents=st.none() | CENTS,
        filename=st.none() | TEXTS,
        outcome=st.sampled_from([OK, "no_pending_buy"]),
        message=TEXTS,
    ),
    events=st.lists(EVENTS, max_size=4),
    user=USERS,
    server=TEXTS,
)
def test_whatever_stands_in_an_entry_its_events_are_valid(
    made: Entry, events: list[Event], user: str, server: str
) -> None:
    lines = events_of(user, {**entry_document(entry(None, *events), b"", "x"), **entry_document(made, b"", server)})
    assert all(line.count("\n") >= 1 for line in lines)
    SCHEMA.assertValid(etree.fromstring((HEAD + "".join(lines) + TAIL).encode()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", "0"),
        ("timestamp", "1700000000"),
        ("timestamp", "1700000000000000"),
        ("transactionNum", "0"),
        ("transactionNum", "-1"),
        ("transactionNum", "1.5"),
        ("transactionNum", "9223372036854775808"),
        ("server", ""),
        ("username", ""),
        ("username", "a b"),
        ("username", "x" * 65),
        ("stockSymbol", "ABCD"),
        ("stockSymbol", "abc"),
        ("stockSymbol", ""),
        ("funds", "1"),
        ("funds", "1.0"),
        ("funds", "1.000"),
        ("funds", "-1"),
        ("funds", "+1.00"),
        ("funds", "--1.00"),
        ("funds", "01.00"),
        ("funds", "1e2"),
        ("filename", ""),
        ("command", "HACK"),
        ("command", ""),
    ],
)
def test_the_schema_refuses_what_the_format_does_not_allow(field: str, value: str) -> None:
    good = {
        **HEAD_FIELDS,
        "command": "BUY",
        "username": "jane",
        "stockSymbol": "ABC",
        "filename": "log",
        "funds": "1.00",
    }
    assert SCHEMA.validate(log_of("userCommand", good))
    assert not SCHEMA.validate(log_of("userCommand", {**good, field: value}))


def log_of(kind: str, fields: dict[str, str]) -> Any:
    log = etree.Element("log")
    event = etree.SubElement(log, kind)
    for name, value in fields.items():
        etree.SubElement(event, name).text = value
    return log


def test_children_may_stand_in_any_order_once_each() -> None:
    fields = {**HEAD_FIELDS, "command": "BUY", "username": "jane"}
    assert SCHEMA.validate(log_of("debugEvent", dict(reversed(fields.items()))))
    twice = log_of("debugEvent", fields)
    etree.SubElement(twice[0], "username").text = "jane"
    assert not SCHEMA.validate(twice)


@pytest.mark.parametrize("missing", ["timestamp", "server", "transactionNum", "action", "username", "funds"])
def test_an_account_transaction_lacks_nothing(missing: str) -> None:
    fields = {**HEAD_FIELDS, "action": "add", "username": "jane", "funds": "1.00"}
    assert SCHEMA.validate(log_of("accountTransaction", fields))
    del fields[missing]
    assert not SCHEMA.validate(log_of("accountTransaction", fields))
