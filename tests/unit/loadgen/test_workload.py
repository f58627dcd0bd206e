import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.workload.commands import COMMANDS
from loadgen.workload.files import (
    MAX_LINE_BYTES,
    MAX_PROBLEMS,
    MAX_TRANSACTION,
    Command,
    Problem,
    Workload,
    WorkloadError,
    format_command,
    load,
    parse,
    write,
)


def commands_in(text: bytes) -> list[Command]:
    return parse(io.BytesIO(text)).commands


def problems_in(text: bytes, *, strict: bool = False) -> list[Problem]:
    with pytest.raises(WorkloadError) as raised:
        parse(io.BytesIO(text), strict=strict)
    return raised.value.problems


def test_every_command_is_read_with_its_fields() -> None:
    text = b"[3] BUY,oY01WVirLr,S,276.83 \n[4] ADD,jane,1.00\n[5] QUOTE,jane,ABC\n[6] COMMIT_BUY,jane \n"
    assert commands_in(text) == [
        Command(3, "BUY", "oY01WVirLr", "S", "276.83"),
        Command(4, "ADD", "jane", None, "1.00"),
        Command(5, "QUOTE", "jane", "ABC", None),
        Command(6, "COMMIT_BUY", "jane", None, None),
    ]


def test_a_dumplog_with_one_field_is_of_all_users_and_with_two_of_one() -> None:
    assert commands_in(b"[1] DUMPLOG,./all\n[2] DUMPLOG,jane,./own") == [
        Command(1, "DUMPLOG", None, None, "./all"),
        Command(2, "DUMPLOG", "jane", None, "./own"),
    ]


def test_values_are_not_the_parsers_business() -> None:
    assert commands_in(b"[1] ADD,jane,-73280.58\n[2] QUOTE,a b,TOOLONG\n[3] ADD,jane,many\n") == [
        Command(1, "ADD", "jane", None, "-73280.58"),
        Command(2, "QUOTE", "a b", "TOOLONG", None),
        Command(3, "ADD", "jane", None, "many"),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \r\n", b"   \n"])
def test_line_ends_and_trailing_blanks_do_not_matter(end: bytes) -> None:
    text = b"[1] ADD,u,1" + end + b"[2] COMMIT_BUY,u" + end + end + end
    assert [command.transaction for command in commands_in(text)] == [1, 2]


def test_the_last_line_needs_no_end() -> None:
    assert len(commands_in(b"[1] ADD,u,1")) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[0] ADD,u,1", "transaction number '0'"),
        (b"[-1] ADD,u,1", "transaction number '-1'"),
        (b"[01] ADD,u,1", "transaction number '01'"),
        (b"[x] ADD,u,1", "transaction number 'x'"),
        (b"[] ADD,u,1", "transaction number ''"),
        (b"[9223372036854775808] ADD,u,1", "transaction number '9223372036854775808'"),
        (b"[99999999999999999999999999] ADD,u,1", "transaction number '9999"),
        ("[٣] ADD,u,1".encode(), "transaction number '٣'"),
        (b"ADD,u,1", "does not begin with a transaction number"),
        (b"[2 ADD,u,1", "does not begin with a transaction number"),
        (b"[2] PAY,u,1", "unknown command 'PAY'"),
        (b"[2] add,u,1", "unknown command 'add'"),
        (b"[2] ", "does not begin with a transaction number"),
        (b"[2] ADD", "ADD needs user,amount; the line has 0 fields"),
        (b"[2] ADD,u", "ADD needs user,amount; the line has 1 fields"),
        (b"[2] ADD,u,1,2", "ADD needs user,amount; the line has 3 fields"),
        (b"[2] BUY,u,S", "BUY needs user,symbol,amount; the line has 2 fields"),
        (b"[2] BUY,u,S,1,2", "BUY needs user,symbol,amount; the line has 4 fields"),
        (b"[2] DUMPLOG", "DUMPLOG needs user,filename or filename; the line has 0 fields"),
        (b"[2] DUMPLOG,a,b,c", "DUMPLOG needs user,filename or filename; the line has 3 fields"),
        (b"[2] ADD,,1", "its user is empty"),
        (b"[2] ADD, ,1", "its user is empty"),
        (b"[2] BUY,u,,1", "its symbol is empty"),
        (b"[2] BUY,u, ,1", "its symbol is empty"),
        (b"[2] BUY,u,S,", "its amount is empty"),
        (b"[2] SET_BUY_TRIGGER,u,S,", "its price is empty"),
        (b"[2] DUMPLOG,", "its filename is empty"),
        (b"[2] ADD,u\x00,1", "character 10 is a control character"),
        (b"[2] ADD,u,1\xff", "byte 12 is not UTF-8"),
        ("[2] ADD,u\u2028,1".encode(), "a character that cannot be printed"),
        (b"[2] ADD,u," + b"1" * MAX_LINE_BYTES, f"longer than {MAX_LINE_BYTES} bytes"),
    ],
)
def test_a_malformed_line_is_named_with_its_number_and_reason(line: bytes, reason: str) -> None:
    problems = problems_in(b"[1] ADD,u,1\n" + line + b"\n[3] ADD,u,1\n")
    assert [problem.line for problem in problems] == [2]
    assert reason in problems[0].reason


UNTIDY = [
    (b"", "the line is blank"),
    (b"   ", "the line is blank"),
    (b"\t", "character 1 is a control character"),
    (b"# deposits", "does not begin with a transaction number"),
    (b"  # [2] ADD,u,1", "does not begin with a transaction number"),
    (b"[2]ADD,u,1", "does not begin with a transaction number"),
    (b"[2]  ADD,u,1", "unknown command ' ADD'"),
    (b"[2]\tADD,u,1", "control character"),
    (b" [2] ADD,u,1", "does not begin with a transaction number"),
    (b"\t[2] ADD,u,1", "control character"),
    (b"[2] ADD,u,1\t", "control character"),
    (b"[2] ADD, u, 1", "its user has a blank before or after it"),
    (b"[2] ADD,u ,1", "its user has a blank before or after it"),
    (b"[2] ADD,u\t,1", "character 10 is a control character"),
    (b"[2] ADD ,u,1", "unknown command 'ADD '"),
]


@pytest.mark.parametrize("line", [line for line, _ in UNTIDY])
def test_an_untidy_line_is_mended_and_counted(line: bytes) -> None:
    workload = parse(io.BytesIO(b"[1] ADD,u,1\n" + line + b"\n[3] ADD,u,1\n"))
    meant = [Command(2, "ADD", "u", None, "1")] if line.strip().startswith(b"[") else []
    assert workload.commands == [Command(1, "ADD", "u", None, "1"), *meant, Command(3, "ADD", "u", None, "1")]
    assert workload.mended == 1


@pytest.mark.parametrize(("line", "reason"), UNTIDY)
def test_a_strict_reader_refuses_an_untidy_line_and_says_what_it_is(line: bytes, reason: str) -> None:
    problems = problems_in(b"[1] ADD,u,1\n" + line + b"\n[3] ADD,u,1\n", strict=True)
    assert [problem.line for problem in problems] == [2]
    assert reason in problems[0].reason


def test_a_byte_order_mark_is_mended_at_the_start_of_the_file_and_nowhere_else() -> None:
    marked = b"\xef\xbb\xbf[1] ADD,u,1\n"
    assert parse(io.BytesIO(marked)) == Workload("workload", [Command(1, "ADD", "u", None, "1")], mended=1)
    assert "byte order mark" in problems_in(marked, strict=True)[0].reason
    assert "byte order mark" in problems_in(b"[2] ADD,u,1\n" + marked)[0].reason


def test_a_tidy_file_needs_no_mending() -> None:
    assert parse(io.BytesIO(b"[1] ADD,u,1 \r\n[2] DUMPLOG,my log.xml\n\n"), strict=True).mended == 0


def test_mending_does_not_make_a_command_of_what_is_none() -> None:
    assert "unknown command 'PAY'" in problems_in(b" [1]PAY, u, 1\n")[0].reason
    assert "transaction number ' 1'" in problems_in(b"[ 1] ADD,u,1\n")[0].reason
    assert problems_in(b"# nothing\n\n# at all\n")[0].reason == "the file is empty: it has no command"


def test_a_transaction_number_used_twice_is_named_with_both_lines() -> None:
    assert problems_in(b"[7] ADD,u,1\n[8] ADD,u,1\n[7] ADD,u,2\n") == [
        Problem(3, "transaction number 7 was used before, in line 1")
    ]


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n \n\n"])
def test_a_file_without_commands_is_refused(text: bytes) -> None:
    assert problems_in(text) == [Problem(0, "the file is empty: it has no command")]


def test_all_problems_are_reported_together_but_not_without_bound() -> None:
    text = b"".join(b"[%d] NOPE,u\n" % number for number in range(1, 101))
    with pytest.raises(WorkloadError) as raised:
        parse(io.BytesIO(text), "big")
    assert [problem.line for problem in raised.value.problems] == list(range(1, MAX_PROBLEMS + 1))
    assert raised.value.total == 100
    assert str(raised.value).splitlines()[0] == "big: line 1: unknown command 'NOPE'"
    assert str(raised.value).splitlines()[-1] == "big: and 80 more problems"


def test_a_huge_line_is_skipped_in_pieces_and_the_next_line_has_its_right_number() -> None:
    problems = problems_in(b"[1] ADD,u," + b"9" * 3_000_000 + b"\n[2] NOPE,u\n")
    assert [problem.line for problem in problems] == [1, 2]


def test_a_file_that_cannot_be_read_is_a_workload_error(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="No such file"):
        load(tmp_path / "missing")
    with pytest.raises(WorkloadError, match="directory"):
        load(tmp_path)


FIELD = st.text('abXYZ019._-/é€[]"', min_size=1, max_size=12)


@st.composite
def workloads(draw: st.DrawFn) -> list[Command]:
    numbers = draw(st.lists(st.integers(1, MAX_TRANSACTION), min_size=1, max_size=15, unique=True))
    commands = []
    for number in numbers:
        name = draw(st.sampled_from(sorted(COMMANDS)))
        form = COMMANDS[name].fields
        of_all = name == "DUMPLOG" and draw(st.booleans())
        user = None if of_all else draw(FIELD)
        symbol = draw(FIELD) if "symbol" in form else None
        value = draw(FIELD) if form[-1] in {"amount", "price", "filename"} else None
        commands.append(Command(number, name, user, symbol, value))
    return commands


@given(workloads())
@settings(max_examples=50)
def test_what_is_written_is_read_again(commands: list[Command]) -> None:
    file = io.BytesIO()
    assert write(commands, file) == len(commands)
    assert commands_in(file.getvalue()) == commands


@given(st.binary(max_size=300) | workloads().map(lambda commands: "\n".join(map(format_command, commands)).encode()))
def test_any_bytes_are_either_commands_or_named_problems(data: bytes) -> None:
    problems: list[Problem] = []
    commands: list[Command] = []
    try:
        commands = commands_in(data)
    except WorkloadError as error:
        problems = error.problems
    assert bool(commands) != bool(problems)
