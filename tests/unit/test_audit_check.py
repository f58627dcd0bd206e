"""`python -m infra.audit check`: a sound log passes, each kind of damage is named."""

import gzip
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.audit.cli import main
from infra.local.stack import PROJECT

AT = 1_700_000_000_000
HEAD = '<?xml version="1.0"?>\n<log>\n'
TAIL = "</log>\n"


def event(kind: str, at: int, number: int, **fields: str) -> str:
    inside = {"timestamp": str(AT + at), "server": "s", "transactionNum": str(number), **fields}
    return f"<{kind}>" + "".join(f"<{name}>{text}</{name}>" for name, text in inside.items()) + f"</{kind}>\n"


def command(at: int, number: int, name: str, user: str = "jane", **fields: str) -> str:
    return event("userCommand", at, number, command=name, username=user, **fields)


def moved(at: int, number: int, action: str, funds: str, user: str = "jane") -> str:
    return event("accountTransaction", at, number, action=action, username=user, funds=funds)


def error(at: int, number: int, name: str, user: str = "jane") -> str:
    return event("errorEvent", at, number, command=name, username=user, errorMessage="why")


def system(at: int, number: int, name: str, user: str = "jane") -> str:
    return event("systemEvent", at, number, command=name, username=user, stockSymbol="ABC", funds="1.00")


ADD = command(0, 1, "ADD", funds="10.00") + moved(0, 1, "add", "10.00")
BUY = command(1, 2, "BUY", stockSymbol="ABC", funds="6.00") + moved(1, 2, "remove", "6.00")
SOUND = [
    ADD,
    BUY,
    command(2, 3, "COMMIT_BUY"),
    command(2, 4, "COMMIT_BUY") + error(2, 4, "COMMIT_BUY"),
    command(3, 5, "BUY", stockSymbol="ABC", funds="4.00") + moved(3, 5, "remove", "4.00"),
    system(70_000, 5, "BUY") + moved(70_000, 5, "add", "4.00"),
    command(70_001, 6, "BUY") + moved(70_001, 6, "remove", "3.00"),
    command(70_002, 7, "CANCEL_BUY") + moved(70_002, 7, "add", "3.00"),
    command(70_003, 8, "SET_BUY_AMOUNT", stockSymbol="ABC") + moved(70_003, 8, "remove", "4.00"),
    command(70_004, 9, "SET_BUY_TRIGGER", stockSymbol="ABC"),
    system(70_005, 9, "SET_BUY_TRIGGER") + moved(70_005, 9, "add", "0.50"),
    event("userCommand", 70_006, 10, command="DUMPLOG", filename="log"),
]


@pytest.fixture
def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that checks a log given as text; it returns the exit code and what was said."""

    def check(*events: str, whole: str | None = None, options: tuple[str, ...] = ()) -> tuple[int, str]:
        log = tmp_path / "log.xml"
        log.write_text(whole if whole is not None else HEAD + "".join(events) + TAIL)
        code = main(["check", str(log), *options])
        return code, capsys.readouterr().out

    return check


def test_a_sound_log_is_told_by_its_totals(checked: Any) -> None:
    code, said = checked(*SOUND)
    assert code == 0
    totals = dict(line.split() for line in said.splitlines()[:8])
    assert (totals["userCommand"], totals["accountTransaction"], totals["systemEvent"]) == ("10", "8", "2")
    assert (totals["errorEvent"], totals["events"], totals["users"]) == ("1", "21", "1")
    assert said.splitlines()[-1] == "the log is sound"


DAMAGE = {
    "an event lost: cash that nothing explains": ([moved(0, 1, "add", "10.00")], "cause"),
    "cash moved under another number": ([ADD, command(1, 2, "ADD"), moved(1, 3, "add", "1.00")], "cause"),
    "cash moved for another user": ([command(0, 1, "ADD"), moved(0, 1, "add", "1.00", "john")], "cause"),
    "cash moved at another moment": ([command(0, 1, "ADD"), moved(1, 1, "add", "1.00")], "cause"),
    "less than nothing left": ([ADD, command(1, 2, "BUY"), moved(1, 2, "remove", "10.01")], "cash"),
    "a rejection without its command": ([ADD, error(1, 2, "BUY")], "rejection"),
    "two rejections of one command": (
        [command(0, 1, "BUY"), error(0, 1, "BUY"), error(0, 1, "BUY")],
        "rejection",
    ),
    "a rejection of another command": ([command(0, 1, "SELL"), error(0, 1, "BUY")], "rejection"),
    "a rejected command that moved cash": ([ADD, BUY, error(1, 2, "BUY")], "rejection"),
    "time that goes back": ([command(1, 1, "QUOTE"), command(0, 2, "QUOTE")], "time"),
    "a commit of nothing": ([command(0, 1, "COMMIT_BUY")], "orders"),
    "a cancel that gives back too much": (
        [ADD, BUY, command(2, 3, "CANCEL_BUY"), moved(2, 3, "add", "6.01")],
        "orders",
    ),
    "an order that expires twice": (
        [ADD, BUY, system(70_000, 2, "BUY"), moved(70_000, 2, "add", "6.00"), system(70_001, 2, "BUY")],
        "orders",
    ),
    "an event of no kind": ([ADD, "<gossip>x</gossip>"], "form"),
    "an empty child": ([command(0, 1, "DUMPLOG", filename="")], "form"),
    "money with one place": ([command(0, 1, "ADD", funds="1.0")], "form"),
    "no number": (["<userCommand><timestamp>1700000000000</timestamp></userCommand>"], "form"),
}


@pytest.mark.parametrize(("events", "rule"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(checked: Any, events: list[str], rule: str) -> None:
    code, said = checked(*events)
    findings = [line for line in said.splitlines() if line.split(":")[0] in RULES]
    assert code == 1
    assert [line.split(":")[0] for line in findings][:1] == [rule]
    assert " event " in findings[0]


RULES = {"cause", "cash", "rejection", "time", "orders", "form", "xml", "summary"}


def test_a_time_in_the_future_is_named(checked: Any) -> None:
    code, said = checked(event("userCommand", 8_000_000_000_000, 1, command="QUOTE", username="jane"))
    assert (code, "is in the future" in said) == (1, True)


@pytest.mark.parametrize(
    "text",
    ["", "no xml", HEAD, HEAD + SOUND[0], HEAD + SOUND[0][:50], HEAD + TAIL + "<log/>", f"{HEAD}&x;{TAIL}"],
)
def test_what_is_cut_off_or_no_xml_is_not_sound(checked: Any, text: str) -> None:
    code, said = checked(whole=text)
    assert (code, "xml: " in said or "form: " in said) == (1, True)


@pytest.mark.parametrize("text", ["<log a='b'></log>", "<logs></logs>", "<log>x</log>", f"<log>{ADD}x{BUY}</log>"])
def test_a_root_that_is_no_log_is_not_sound(checked: Any, text: str) -> None:
    code, said = checked(whole=text)
    assert (code, "form: " in said) == (1, True)


def test_a_break_of_the_form_is_found_where_it_is(checked: Any) -> None:
    """Events are validated some at a time; the number named is exact all the same."""
    good = [command(at, at + 1, "QUOTE") for at in range(2_500)]
    for place in (0, 499, 500, 501, 2_499):
        events = [*good[:place], command(place, 0, "QUOTE"), *good[place + 1 :]]
        code, said = checked(*events)
        assert (code, f"form: event {place + 1}: " in said) == (1, True)
        assert "the log is not sound: " in said


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Ten times the events in less than two more megabytes: nothing is remembered of an event."""
    peaks = []
    for how_many in (5_000, 50_000):
        log = tmp_path / "log.xml"
        log.write_text(HEAD + "".join(command(at, at + 1, "QUOTE") for at in range(how_many)) + TAIL)
        code = (
            "import sys; from infra.audit.bench import peak_bytes; from infra.audit.cli import main;"
            "assert main(['check', sys.argv[1]]) == 0; print(peak_bytes())"
        )
        arguments = [sys.executable, "-c", code, str(log)]
        said = subprocess.run(arguments, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=120).stdout
        peaks.append(int(said.splitlines()[-1]))
    assert peaks[1] < peaks[0] + 2_000_000


def test_a_document_type_is_refused_and_its_entities_are_not_followed(checked: Any) -> None:
    bomb = '<!DOCTYPE log [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    code, said = checked(whole=f"{bomb}<log>{command(0, 1, '&b;')}</log>")
    assert (code, "a log has no document type" in said) == (1, True)
    assert "aaaaaaaaaa" not in said


def test_findings_are_bounded(checked: Any) -> None:
    code, said = checked(*(moved(at, 1, "add", "1.00") for at in range(500)))
    assert code == 1
    assert said.count("\n") < 30
    assert "cause: 490 more" in said
    assert "500 findings" in said


def test_packed_logs_and_standard_input_are_read(tmp_path: Path) -> None:
    packed = gzip.compress((HEAD + "".join(SOUND) + TAIL).encode())
    (tmp_path / "log.gz").write_bytes(packed)
    assert main(["check", str(tmp_path / "log.gz")]) == 0
    arguments = [sys.executable, "-m", "infra.audit", "check", "-"]
    for text, code in ((packed, 0), (packed[:200], 2), ((HEAD + TAIL).encode(), 0)):
        ended = subprocess.run(arguments, cwd=PROJECT, input=text, capture_output=True, check=False, timeout=60)
        assert ended.returncode == code, ended.stderr


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it for `<&-`
    assert main(["check", "-"]) == 2
    assert capsys.readouterr() == ("", "audit: -: standard input is closed\n")


@contextmanager
def served(answers: dict[str, bytes]) -> Iterator[str]:
    """Serve these bodies under these paths; yields the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_log_behind_a_link_is_read() -> None:
    with served({"/log": (HEAD + "".join(SOUND) + TAIL).encode()}) as url:
        assert main(["check", f"{url}/log"]) == 0
        assert main(["check", f"{url}/other"]) == 2


@pytest.mark.parametrize("arguments", [["/nowhere/log"], ["{log}", "--summaries", "/nowhere"], ["{log}", "--url", "x"]])
def test_what_cannot_be_checked_is_2(tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_TOKEN", "t")
    log = tmp_path / "log.xml"
    log.write_text(HEAD + TAIL)
    assert main(["check", *(word.format(log=log) for word in arguments)]) == 2


NOTHING: dict[str, Any] = {"pending_buys": [], "buy_triggers": [], "sell_triggers": [], "history": []}
TRIGGER = {"symbol": "ABC", "amount": "4.00", "price": "1.00"}
ARMED = [ADD, command(1, 2, "SET_BUY_AMOUNT", stockSymbol="ABC"), moved(1, 2, "remove", "4.00")]
ARMED += [command(2, 3, "SET_BUY_TRIGGER", stockSymbol="ABC")]


@pytest.mark.parametrize(
    ("events", "summary", "code", "told"),
    [
        ([ADD], {"cash": "10.00"}, 0, "1 equal"),
        ([ADD], {"cash": "10.01"}, 1, "summary: jane: 10.01 in the summary, 10.00 in the log"),
        ([ADD, BUY], {"cash": "4.00"}, 0, "1 equal"),
        ([ADD, BUY], {**NOTHING, "cash": "4.00", "pending_buys": [{"cost": "6.00"}]}, 0, "1 equal"),
        ([ADD, BUY], {**NOTHING, "cash": "10.00"}, 0, "1 equal"),  # it has expired since and was given back
        ([ADD, BUY], {**NOTHING, "cash": "4.00"}, 1, "10.00 in the log"),
        (
            [ADD],
            {**NOTHING, "cash": "11.00", "history": [{"timestamp": AT + 1, "command": "ADD"}]},
            0,
            "1 changed after",
        ),
        ([ADD], {**NOTHING, "cash": "11.00", "history": [{"timestamp": AT + 1, "command": "QUOTE"}]}, 1, "11.00"),
        ([ADD], {**NOTHING, "cash": "11.00", "history": [{"timestamp": AT, "command": "ADD"}]}, 1, "11.00"),
        (ARMED, {**NOTHING, "cash": "6.50"}, 0, "1 changed after"),  # the trigger has fired since
        (ARMED, {**NOTHING, "cash": "6.50", "buy_triggers": [TRIGGER]}, 1, "6.50"),
        ([*ARMED, command(3, 4, "CANCEL_SET_BUY", stockSymbol="ABC")], {**NOTHING, "cash": "6.50"}, 1, "6.50"),
    ],
)
def test_cash_is_compared_with_summaries(
    checked: Any, tmp_path: Path, events: list[str], summary: dict[str, Any], code: int, told: str
) -> None:
    summaries = tmp_path / "summaries"
    summaries.write_text(json.dumps({"user": "jane", **summary}) + "\n")
    assert (found := checked(*events, options=("--summaries", str(summaries))))[0] == code
    assert told in found[1]


def account(version: int, orders: tuple[int, ...] = (), triggers: tuple[str, ...] = (), **positions: int) -> bytes:
    shown = {
        "version": version,
        "positions": {symbol: {"shares": shares} for symbol, shares in positions.items()},
        "pending_buys": [{"order": order} for order in orders],
        "pending_sells": [],
        "buy_triggers": [{"symbol": "XYZ", "price": None}],
        "sell_triggers": [{"symbol": symbol, "price": "1.00"} for symbol in triggers],
    }
    return json.dumps(shown).encode()


def history(first: int, *events: dict[str, Any]) -> bytes:
    """Return a page of the history, newest first, with one event an entry."""
    entries = [{"sequence": first - place, "events": [event]} for place, event in enumerate(events)]
    return json.dumps({"entries": entries, "next": None}).encode()


PLACED = {"kind": "order_placed", "side": "buy", "symbol": "ABC", "shares": 5, "order": 1}
BOUGHT = {**PLACED, "kind": "order_committed"}
ARMED_SELL = {"kind": "trigger_set", "side": "sell", "symbol": "ABC", "shares": 2}
SOLD = {**ARMED_SELL, "kind": "trigger_fired"}
TRADED = history(4, SOLD, ARMED_SELL, BOUGHT, PLACED)
OPEN = history(4, ARMED_SELL, {**PLACED, "order": 3}, BOUGHT, PLACED)
ALL_EQUAL = "shares, orders and triggers: 1 equal, 0 with history in archives"


def test_summaries_are_asked_of_a_server_user_by_user(checked: Any) -> None:
    john = command(5, 9, "ADD", "john") + moved(5, 9, "add", "2.00", "john")
    paths = {
        "/api/users/jane/summary": b'{"user": "jane", "cash": "10.00"}',
        "/api/users/john/summary": b'{"user": "john", "cash": "3.00"}',
        "/api/users/jane/account": account(0),
        "/api/users/john/account": account(0),
    }
    with served(paths) as url:
        code, said = checked(ADD, john, options=("--url", f"{url}/api", "--token", "t"))
    assert (code, "1 equal" in said, "summary: john: 3.00" in said) == (1, True, True)


@pytest.mark.parametrize(
    ("held", "page", "code", "told"),
    [
        (account(4, ABC=3), TRADED, 0, ALL_EQUAL),
        (account(4, ABC=4), TRADED, 1, "holding: jane: 4 shares of ABC in the account, 3 by its history"),
        (account(4), TRADED, 1, "0 shares of ABC in the account, 3 by its history"),
        (account(4, ABC=3, XYZ=1), TRADED, 1, "1 shares of XYZ in the account, 0 by its history"),
        (account(4, (1,), ABC=3), TRADED, 1, "1 orders 1 in the account, 0 by its history"),
        (account(4, (), ("ABC",), ABC=3), TRADED, 1, "1 sell triggers of ABC in the account, 0 by its history"),
        (account(4, (3,), ("ABC",), ABC=5), OPEN, 0, ALL_EQUAL),
        (account(4, (), ("ABC",), ABC=5), OPEN, 1, "0 orders 3 in the account, 1 by its history"),
        (account(4, (3,), ABC=5), OPEN, 1, "0 sell triggers of ABC in the account, 1 by its history"),
        (account(4, ABC=3), history(4), 0, "triggers: 0 equal, 1 with history in archives"),
    ],
)
def test_shares_orders_and_triggers_are_compared_with_the_history(
    checked: Any, held: bytes, page: bytes, code: int, told: str
) -> None:
    paths = {
        "/users/jane/summary": b'{"user": "jane", "cash": "10.00"}',
        "/users/jane/account": held,
        "/users/jane/history?limit=200&before=5": page,
    }
    with served(paths) as url:
        found, said = checked(ADD, options=("--url", url, "--token", "t"))
    assert (found, told in said) == (code, True), said


def test_a_gap_in_the_history_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.xml").write_text(HEAD + ADD + TAIL)
    paths = {
        "/users/jane/summary": b'{"user": "jane", "cash": "10.00"}',
        "/users/jane/account": account(5),
        "/users/jane/history?limit=200&before=6": TRADED,
    }
    with served(paths) as url:
        assert main(["check", str(tmp_path / "log.xml"), "--url", url, "--token", "t"]) == 2
    assert "entry 5 is missing from the history of jane" in capsys.readouterr().err
