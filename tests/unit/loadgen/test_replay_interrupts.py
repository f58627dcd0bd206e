"""A replay that is interrupted: once, it reports what was done; twice, it ends at once."""

import signal
import threading
import time
from pathlib import Path

from tests.unit.loadgen.conftest import WriteWorkload
from tests.unit.loadgen.runs import report_of, start_replay, wait_until
from tests.unit.loadgen.stub import Handler, Request, StubServer


def test_the_first_interrupt_ends_the_run_with_a_report_of_what_was_done(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    def slow(_handler: Handler, _request: Request) -> bool:
        time.sleep(0.02)
        return False

    stub.misbehave = slow
    out = tmp_path / "out.json"
    process = start_replay(stub, write_workload("ADD,a,1.00\nADD,b,1.00\n" * 2000), "--json", str(out))
    wait_until(lambda: len(stub.requests) >= 10, "no requests came")
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    report = report_of(out)
    assert report["interrupted"] is True
    assert report["errors"] == 0
    assert report["commands"] == stub.exchange.executions < 4000
    assert "(interrupted)" in shown
    assert "Traceback" not in errors


def test_a_second_interrupt_ends_at_once(stub: StubServer, write_workload: WriteWorkload) -> None:
    released = threading.Event()
    stub.misbehave = lambda _handler, _request: released.wait(20) and False
    process = start_replay(stub, write_workload("ADD,a,1.00"))
    try:
        wait_until(lambda: bool(stub.requests), "no request came")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "Ctrl-C again" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=5)
        assert process.returncode == 130
        assert "Traceback" not in errors
    finally:
        released.set()
        process.kill()
        process.communicate()
