"""Where the load generator runs."""

import os
from collections.abc import Sequence

import psutil
import pytest

from tests.processors import processors_of
from tests.unit.loadgen.conftest import WriteWorkload
from tests.unit.loadgen.runs import replayed
from tests.unit.loadgen.stub import Handler, Request, StubServer

ALLOWED = sorted(os.sched_getaffinity(0))
ANYWHERE = tuple(ALLOWED)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), [(ALLOWED[-1],)]),
        (("--processor", "0"), [(ALLOWED[0],)]),
        (("--processor", "any"), [ANYWHERE]),
        (("--processes", "2"), [ANYWHERE, (ALLOWED[-1],), (ALLOWED[-2 % len(ALLOWED)],)]),
        (("--processes", "2", "--processor", "any"), [ANYWHERE] * 3),
    ],
)
def test_it_stays_on_the_processor_it_was_told(
    stub: StubServer, write_workload: WriteWorkload, options: Sequence[str], wanted: Sequence[Sequence[int]]
) -> None:
    """The last one unless it was told another: servers begin with the first. Further processes take those before it."""
    seen = {}
    others = {process.pid for process in psutil.Process().children(recursive=True)}  # the servers of other tests

    def look(_handler: Handler, request: Request) -> bool:
        if request.command.transaction == 3:  # every process sends by now
            for process in psutil.Process().children(recursive=True):
                if process.pid not in others:
                    seen[process.pid] = tuple(sorted(processors_of(process)))
        return False

    stub.misbehave = look
    replayed(stub, write_workload("ADD,one,1.00\nDUMPLOG,./log\nADD,two,1.00"), *options)
    assert sorted(seen.values()) == sorted(map(tuple, wanted))


@pytest.mark.parametrize("wrong", ["-1", "first", "1.5", ""])
def test_a_processor_that_is_none_is_refused(stub: StubServer, write_workload: WriteWorkload, wrong: str) -> None:
    errors = replayed(stub, write_workload("ADD,one,1.00"), f"--processor={wrong}", code=2)
    assert "must be a number, counted from 0, 'last' or 'any'" in errors
