"""How a replay shares its threads among users, and when commands of no user go."""

import threading
import time

import pytest

from loadgen.workload.files import Command
from loadgen.workload.streams import stages
from tests.unit.loadgen.conftest import Run
from tests.unit.loadgen.runs import numbers_by_user
from tests.unit.loadgen.stub import Handler, Request, StubServer


def test_a_command_without_a_user_waits_for_all_before_it_and_holds_all_after_it(run: Run, stub: StubServer) -> None:
    def misbehave(_handler: Handler, request: Request) -> bool:
        time.sleep(0.02 if request.command.transaction % 3 else 0.1)
        return False

    stub.misbehave = misbehave
    lines = [f"ADD,user{number},1.00" for number in range(9)]
    assert run("\n".join([*lines, "DUMPLOG,./one", "DUMPLOG,./two", *lines, "DUMPLOG,./three"])) == 0
    for request in stub.commands():
        number = request.command.transaction
        if request.command.user is None:
            assert request.answered == number - 1
        else:
            assert request.answered >= (11 if number > 11 else 0)
            assert request.answered < (20 if number > 11 else 9)
    arrived = [request.command.transaction for request in stub.commands()]
    assert [number for number in arrived if number in {10, 11, 21}] == [10, 11, 21]


@pytest.mark.parametrize(("threads", "most"), [("64", 64), ("1200", 1200)])
def test_1200_users_in_one_process_over_a_bound_of_threads(run: Run, stub: StubServer, threads: str, most: int) -> None:
    lines = [f"ADD,user{number},1.00\n" for number in range(1200)]
    seen: list[int] = []

    def misbehave(_handler: Handler, _request: Request) -> bool:
        seen.append(sum(thread.name.startswith("replay-") for thread in threading.enumerate()))
        return False

    stub.misbehave = misbehave if most == 64 else None
    assert run("".join(lines * 2), "--threads", threads, "--timeout", "60") == 0
    assert stub.connections <= most
    assert max(seen, default=0) <= most
    assert all(numbers == sorted(numbers) for numbers in numbers_by_user(stub).values())
    assert {account.cash for account in stub.exchange.accounts.values()} == {200}


def test_streams_that_share_threads_all_make_progress(run: Run, stub: StubServer) -> None:
    """With more users than threads nobody is served to the end before the others begin.

    One thread, since of two the machine may hold up one, and with it the user that it has in hand.
    """
    users = [f"user{number}" for number in range(6)]
    run("\n".join(f"ADD,{user},1.00" for user in users for _ in range(10)), "--threads", "1")
    order = [request.command.user for request in stub.commands()]
    assert set(order[:30]) == set(users)


def test_stages_part_the_commands_at_those_without_a_user() -> None:
    add, dump = Command(1, "ADD", "a", None, "1"), Command(2, "DUMPLOG", None, None, "x")
    other = Command(3, "ADD", "b", None, "1")
    found = [[list(stream) for stream in streams] for streams in stages([dump, add, other, add, dump, dump, other])]
    assert found == [
        [[(0, dump)]], [[(1, add), (3, add)], [(2, other)]], [[(4, dump)]], [[(5, dump)]], [[(6, other)]],
    ]  # fmt: skip
