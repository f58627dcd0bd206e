import io
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.cli import main
from loadgen.workload.commands import COMMANDS
from loadgen.workload.files import Command, parse, write
from loadgen.workload.generate import MAX_SYMBOLS, GenerateError, generate


def test_the_same_seed_gives_the_same_workload_and_another_one_does_not() -> None:
    assert list(generate(5, 300, 10, 1)) == list(generate(5, 300, 10, 1))
    assert list(generate(5, 300, 10, 1)) != list(generate(5, 300, 10, 2))


@given(
    users=st.integers(1, 40),
    more=st.integers(1, 300),
    symbols=st.sampled_from([1, 2, 50, 17_577, MAX_SYMBOLS]),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=25)
def test_any_workload_has_the_form_it_promises(users: int, more: int, symbols: int, seed: int) -> None:
    commands = list(generate(users, users + more, symbols, seed))
    file = io.BytesIO()
    write(commands, file)
    file.seek(0)
    assert parse(file).commands == commands
    assert [command.transaction for command in commands] == list(range(1, users + more + 1))
    assert commands[-1] == Command(users + more, "DUMPLOG", None, None, "./testLOG")
    first: dict[str, str] = {}
    for command in commands[:-1]:
        assert command.user is not None
        assert re.fullmatch(r"[A-Za-z0-9]{10}", command.user)
        first.setdefault(command.user, command.name)
        if command.symbol is not None:
            assert re.fullmatch(r"[A-Z]{1,3}", command.symbol)
        if command.value is not None:
            assert re.fullmatch(r"[0-9]+\.[0-9]{2}", command.value)
            assert command.value != "0.00"
    assert set(first.values()) == {"ADD"}
    assert len(first) == users
    assert len({command.symbol for command in commands if command.symbol}) <= symbols


def test_the_mix_is_that_of_recorded_workloads() -> None:
    """The recorded shares, in percent, of the two files of 10,000 commands that were counted, rounded."""
    recorded = {
        "BUY": 13.3, "QUOTE": 11.8, "COMMIT_BUY": 10.7, "COMMIT_SELL": 8.1, "ADD": 7.3, "DISPLAY_SUMMARY": 7.2,
        "SELL": 6.9, "CANCEL_SET_SELL": 5.1, "CANCEL_BUY": 5.1, "CANCEL_SELL": 4.8, "SET_SELL_TRIGGER": 4.8,
        "SET_BUY_TRIGGER": 4.6, "CANCEL_SET_BUY": 4.6, "SET_SELL_AMOUNT": 2.9, "SET_BUY_AMOUNT": 2.7,
    }  # fmt: skip
    counts = Counter(command.name for command in generate(10, 30_000, 50, 3))
    assert counts.keys() == COMMANDS.keys()
    for name, percent in recorded.items():
        assert abs(counts[name] / 300 - percent) < 0.8, name


def test_users_take_turns_and_use_all_symbols() -> None:
    commands = list(generate(10, 5_000, 20, 4))
    changes = sum(one.user != other.user for one, other in pairwise(commands))
    assert changes > 4_000
    assert len({command.symbol for command in commands} - {None}) == 20


def test_users_are_there_from_the_start_and_have_even_shares() -> None:
    """In a recorded file of ten users all had come by its 34th line, and had from 961 to 1,039 of 10,000 commands.

    A replay has a thread a user: with a user who has more than the others, its rate is in the end that of one thread.
    """
    for seed in range(5):
        users = [command.user for command in generate(10, 10_000, 50, seed)][:-1]
        assert len(set(users[:100])) == 10
        for of, fewest, most in ((users[:1_000], 60, 145), (users, 880, 1_120)):
            shares = Counter(of).values()
            assert fewest < min(shares), seed
            assert max(shares) < most, seed


@pytest.mark.parametrize(
    ("users", "commands", "symbols"), [(0, 10, 1), (10, 10, 1), (1, 2, 0), (1, 2, MAX_SYMBOLS + 1)]
)
def test_numbers_that_make_no_workload_are_refused(users: int, commands: int, symbols: int) -> None:
    with pytest.raises(GenerateError, match="must be"):
        generate(users, commands, symbols, 1)


def test_the_command_line_writes_to_a_file_or_to_standard_output(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "made"
    arguments = ["generate", "--users", "2", "--commands", "20", "--symbols", "3", "--seed", "9"]
    assert main([*arguments, "--out", str(path)]) == 0
    assert main(arguments) == main([*arguments, "--out", "-"]) == 0
    assert capfdbinary.readouterr().out == 2 * path.read_bytes()
    assert path.read_bytes().endswith(b"[20] DUMPLOG,./testLOG\n")


def test_too_few_commands_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--users", "5", "--commands", "5", "--symbols", "3", "--seed", "9"]) == 2
    assert "commands must be at least 6" in capsys.readouterr().err
