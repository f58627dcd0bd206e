"""`loadgen do`: single commands from a terminal, readable answers, and what may not be sent twice without its key."""

import io
import json
from pathlib import Path

import pytest

from loadgen import __version__
from loadgen.cli import main
from loadgen.client.encoding import parse_url
from loadgen.run.server import Server
from loadgen.run.single import PROMPT, SingleCommands, converse
from loadgen.workload.files import load
from tests.unit.loadgen.stub import Handler, Request, StubServer


def do(stub: StubServer, *arguments: str) -> int:
    return main(["do", *arguments, "--url", stub.url, "--token", "good"])


def test_a_command_is_sent_as_a_workload_has_it_and_its_answer_is_shown_a_line_a_field(
    stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do(stub, "ADD,jane,100.00") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "ADD,jane,100.00: ok"
    assert "  cash: 100.00" in shown
    (request,) = stub.commands()
    assert (request.command.name, request.command.user, request.command.value) == ("ADD", "jane", "100.00")
    assert request.key is not None


def test_commands_go_out_in_their_order_each_with_a_key_of_its_own(stub: StubServer) -> None:
    assert do(stub, "ADD,jane,100.00", "ADD,jane,1.00", "[7] ADD,jane,1.00") == 0
    assert [request.command.value for request in stub.commands()] == ["100.00", "1.00", "1.00"]
    assert len({request.key for request in stub.commands()}) == 3
    assert stub.commands()[-1].command.transaction == 7


def test_a_rejection_is_shown_with_its_code_and_exits_with_1(
    stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do(stub, "COMMIT_BUY,jane") == 1
    assert capsys.readouterr().out.startswith("COMMIT_BUY,jane: rejected, no_pending_buy\n")


def test_json_is_a_line_a_command_with_its_answer_and_its_key(
    stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do(stub, "--json", "ADD,jane,100.00", "COMMIT_BUY,jane") == 1
    added, refused = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (added["sent"], added["status"], added["code"], added["final"]) == ("ADD,jane,100.00", 200, "ok", True)
    assert added["answer"]["cash"] == "100.00"
    assert added["key"] == stub.commands()[0].key
    assert (refused["status"], refused["code"]) == (409, "no_pending_buy")


def test_a_file_has_a_command_a_line_numbered_or_not(stub: StubServer, tmp_path: Path) -> None:
    file = tmp_path / "a day.txt"
    file.write_text("# a day\nADD,jane,100.00\n\n[12] ADD, jane, 1.00\n")
    assert do(stub, str(file)) == 0
    assert [request.command.value for request in stub.commands()] == ["100.00", "1.00"]


def test_nothing_is_sent_when_one_of_the_commands_is_none(stub: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(stub, "ADD,jane,100.00", "BUY,jane,100.00") == 2
    assert capsys.readouterr().err == "BUY,jane,100.00: BUY needs user,symbol,amount; the line has 2 fields\n"
    assert stub.commands() == []


def test_standard_input_is_read_where_it_is_no_terminal(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("ADD,jane,100.00\n# no more\n"))
    assert do(stub) == 0
    assert len(stub.commands()) == 1


def test_a_closed_standard_input_is_a_usage_error(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert do(stub) == 2


def test_a_prompt_explains_what_is_no_command_and_goes_on(stub: StubServer) -> None:
    asked: list[str] = []
    answers = iter(["help", "GIVE,jane", "ADD,jane,100.00", "quit"])

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return next(answers)

    output = io.StringIO()
    commands = SingleCommands(Server(parse_url(stub.url), "good", "run"), output)
    converse(commands, ask, output)
    commands.close()
    shown = output.getvalue()
    assert asked == [PROMPT] * 4
    assert "SET_BUY_TRIGGER,user,symbol,price\n" in shown
    assert "GIVE,jane: unknown command 'GIVE'\n" in shown
    assert shown.endswith("cash: 100.00\n")


def test_what_may_have_been_done_is_sent_again_only_with_the_same_key(
    stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(handler: Handler, request: Request) -> bool:
        handler.answer(503, {"code": "store_unavailable", "detail": "the database does not answer"})
        return True

    stub.misbehave = away
    assert do(stub, "--retries", "0", "ADD,jane,100.00") == 1
    shown = capsys.readouterr().out
    assert "ADD,jane,100.00: no final answer, store_unavailable\n  the database does not answer\n" in shown
    key = stub.commands()[0].key
    assert key is not None
    assert f"  it may have been done: send it again only with the same key, --key {key}\n" in shown
    stub.misbehave = None
    assert do(stub, "--key", key, "ADD,jane,100.00") == 0
    assert stub.commands()[-1].key == key


def test_what_was_surely_not_done_does_not_ask_for_caution(
    stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_quote(handler: Handler, request: Request) -> bool:
        handler.answer(503, {"code": "quote_unavailable"})
        return True

    stub.misbehave = no_quote
    assert do(stub, "--retries", "0", "BUY,jane,ABC,100.00") == 1
    assert main(["do", "ADD,jane,1.00", "--url", "http://127.0.0.1:1", "--token", "t", "--retries", "0"]) == 1
    assert "may have been done" not in capsys.readouterr().out


def test_a_key_is_for_one_command(stub: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(stub, "--key", "k", "ADD,jane,1.00", "ADD,jane,1.00") == 2
    assert capsys.readouterr().err == "--key is for one command, given as an argument\n"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"loadgen {__version__}\n")


def test_generate_has_a_default_for_everything(tmp_path: Path) -> None:
    out = tmp_path / "workload"
    assert main(["generate", "--out", str(out)]) == 0
    workload = load(out)
    assert (len(workload.users()), len(workload.commands)) == (45, 10_000)
