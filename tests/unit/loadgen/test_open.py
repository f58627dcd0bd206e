"""The open model: commands leave on schedule, and latency counts from when they should have left."""

import signal
import threading
import time
from pathlib import Path

import pytest

from loadgen.run.scheduler import DueQueue, Turn, work_through
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.runs import (
    finished,
    numbers_by_user,
    replayed,
    report_of,
    start_replay,
    undisturbed,
    wait_until,
)
from tests.unit.loadgen.stub import Handler, Request, StubServer


def lines_of(users: int, count: int) -> str:
    return "\n".join(f"ADD,user{number % users},1.00" for number in range(count))


def test_a_stall_of_a_second_shows_in_the_corrected_p999_and_not_in_the_uncorrected_p50(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    def measure() -> None:
        stalled: list[float] = []

        def stall(_handler: Handler, request: Request) -> bool:
            if request.command.transaction == 300:
                stalled.append(time.monotonic())
            if stalled:
                time.sleep(max(0.0, stalled[0] + 1.0 - time.monotonic()))
            return False

        stub.misbehave = stall
        out = tmp_path / "out.json"
        assert run(lines_of(20, 900), "--rate", "300", "--json", str(out)) == 0
        report = report_of(out)
        corrected, uncorrected = report["corrected_ms"], report["latency_ms"]
        assert corrected["count"] == uncorrected["count"] == 900
        assert corrected["p99.9"] > 900
        assert uncorrected["p50"] < 100
        assert corrected["p90"] > 300
        assert uncorrected["p90"] < 100
        assert max(row["p99"] or 0.0 for row in report["intervals"]["rows"]) > 900
        assert report["run"]["model"] == "open"

    undisturbed(measure)


def test_commands_leave_on_schedule(run: Run, stub: StubServer, tmp_path: Path) -> None:
    def measure() -> None:
        stub.requests.clear()
        arrived: list[float] = []

        def note(_handler: Handler, _request: Request) -> bool:
            arrived.append(time.monotonic())
            return False

        stub.misbehave = note
        out = tmp_path / "out.json"
        assert run(lines_of(10, 200), "--rate", "200", "--json", str(out)) == 0
        order = [request.command.transaction for request in stub.commands()]
        assert max(abs(number - place) for place, number in enumerate(order, 1)) <= 60
        assert 0.9 < arrived[-1] - arrived[0] < 2.5
        assert 80 < report_of(out)["rate"] < 205

    undisturbed(measure)


def test_a_command_that_must_wait_for_its_users_last_one_counts_from_its_intended_start(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    """20 commands of one user are due within 0.2 s and take 0.05 s each: the last ends 0.8 s after it was due."""

    def measure() -> None:
        stub.requests.clear()

        def slow(_handler: Handler, _request: Request) -> bool:
            time.sleep(0.05)
            return False

        stub.misbehave = slow
        out = tmp_path / "out.json"
        assert run(lines_of(1, 20), "--rate", "100", "--json", str(out)) == 3
        assert numbers_by_user(stub)["user0"] == list(range(1, 21))
        report = report_of(out)
        assert 800 < report["corrected_ms"]["max"] <= report["seconds"] * 1000
        assert 50 <= report["latency_ms"]["p50"] < report["corrected_ms"]["p50"] / 2

    undisturbed(measure)


def test_more_users_than_threads_keep_their_order_on_schedule(run: Run, stub: StubServer) -> None:
    assert run(lines_of(50, 400), "--rate", "1000", "--threads", "3", "--allow-missed-rate") == 0
    assert stub.connections <= 3
    for user, numbers in numbers_by_user(stub).items():
        assert numbers == sorted(numbers), user
    assert stub.exchange.executions == 400


def test_several_processes_keep_one_schedule(stub: StubServer, write_workload: WriteWorkload, tmp_path: Path) -> None:
    def measure() -> None:
        out = tmp_path / "out.json"
        path = write_workload(f"{lines_of(10, 150)}\nDUMPLOG,./all\n{lines_of(10, 149)}")
        stub.requests.clear()
        replayed(stub, path, "--processes", "2", "--rate", "200", "--json", out)
        report = report_of(out)
        assert report["commands"] == report["corrected_ms"]["count"] == 300
        assert 1.49 < report["seconds"] < 3
        order = [request.command.transaction for request in stub.commands()]
        assert max(abs(number - place) for place, number in enumerate(order, 1)) <= 100

    undisturbed(measure)


def test_retries_count_from_the_intended_start_too(run: Run, stub: StubServer, tmp_path: Path) -> None:
    stub.misbehave = lambda handler, request: request.attempt == 1 and refuse(handler)
    out = tmp_path / "out.json"
    assert run(lines_of(5, 20), "--rate", "100", "--allow-missed-rate", "--json", str(out)) == 0
    report = report_of(out)
    assert report["retries"] == report["corrected_ms"]["count"] == report["latency_ms"]["count"] == 20
    assert report["corrected_ms"]["max"] >= report["latency_ms"]["max"]
    assert sum(row["retries"] for row in report["intervals"]["rows"]) == 20


def refuse(handler: Handler) -> bool:
    handler.answer(503, {"code": "store_unavailable"}, {"Retry-After": "0"})
    return True


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_interrupt_does_not_wait_for_the_next_command_of_the_schedule(
    stub: StubServer, write_workload: WriteWorkload, processes: str
) -> None:
    process = start_replay(
        stub, write_workload(lines_of(9, 9)), "--rate", "0.02", "--threads", "4", "--processes", processes
    )
    wait_until(lambda: len(stub.requests) == 1, "nothing was sent")
    process.send_signal(signal.SIGINT)
    code, _, errors = finished(process)
    assert code == 130, errors
    assert len(stub.requests) == 1


def test_a_thread_that_waits_for_a_later_item_does_not_hold_up_an_earlier_one() -> None:
    def measure() -> None:
        start = time.perf_counter_ns()
        taken: list[tuple[float, float]] = []

        def perform(_worker: int, turn: Turn[float]) -> None:
            item = turn.item
            taken.append((item, (time.perf_counter_ns() - start) / 1e9))
            if item == 0.0:
                time.sleep(0.05)

        streams = [[0.0, 0.2, 0.25], [0.6], [0.1, 0.15]]
        queue = DueQueue(streams, lambda item: start + int(item * 1e9))
        work_through([1, 2, 3], queue, perform, threading.Event())
        assert [item for item, _ in taken] == [0.0, 0.1, 0.15, 0.2, 0.25, 0.6]
        assert all(item <= at < item + 0.25 for item, at in taken)

    undisturbed(measure)
