"""A replay from its workload to its report: initial accounts, run, answers file, statistics."""

import contextlib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.results import machine
from loadgen.results.answers import AnswerWriter, Header
from loadgen.results.outputs import written_beside
from loadgen.results.statistics import Statistics
from loadgen.run.accounts import read_accounts
from loadgen.run.affinity import staying_on
from loadgen.run.interrupt import Interrupt
from loadgen.run.pacing import AS_FAST_AS_ANSWERS_COME, Pacing
from loadgen.run.processes import WorkerProcesses
from loadgen.run.progress import Source, shown
from loadgen.run.replay import Replay
from loadgen.run.server import ReplayError, Server, explain
from loadgen.workload.files import Command, Workload
from loadgen.workload.selection import EVERYTHING, Selection
from loadgen.workload.streams import Shard, Stream, owned, owner, stages

FORMAT = 3
"""The version of the report format."""

BULKY = ("intervals", "histograms")
"""The last parts of a report: they are for programs."""

KEPT_KEYS = 1_024
"""How many of a user's idempotency keys a server remembers at least (promised by the interface)."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How a replay is run. `answers` is the file that records the answers, if any; `threads` counts over all processes.

    `processor` is where it runs (`loadgen/run/affinity.py`).
    """

    threads: int
    answers: Path | None
    baseline: bool
    quiet: bool
    processes: int = 1
    pacing: Pacing = AS_FAST_AS_ANSWERS_COME
    selection: Selection = EVERYTHING
    title: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    system_version: str | None = None
    processor: int | None = None


@dataclass(slots=True)
class _Run:
    """The results of a run, of one process or several."""

    statistics: Statistics
    answered: bytearray
    stopped: str | None
    cpu_s: float


@dataclass(frozen=True, slots=True)
class _Task:
    """What to run: `mine` is the selection of the workload, `plan` its streams by stage."""

    workload: Workload
    mine: Workload
    plan: Sequence[Sequence[Stream]]
    server: Server
    options: ReplayOptions
    interrupt: Interrupt
    threads: int
    processes: int


def replay(workload: Workload, server: Server, options: ReplayOptions, interrupt: Interrupt) -> dict[str, Any]:
    """Replay the selection of a workload and return its report. Raises ReplayError, AnswersError."""
    mine = options.selection.part(workload)
    threads = min(options.threads, max(1, len(mine.users())))
    processes = min(options.processes, threads)
    plan = _plan(workload, options.selection)
    task = _Task(workload, mine, plan, server, options, interrupt, threads, processes)
    with interrupt.handled(), _recording(task) as recorder:
        run = _run_here(task, recorder) if processes == 1 else _run_processes(task, recorder)
    _note_plan(run.statistics, plan, options.pacing)
    if recorder is not None:
        run.stopped = run.stopped or recorder.trouble
    return _report(task, run)


def _plan(workload: Workload, selection: Selection) -> list[list[Stream]]:
    """Return this machine's streams by stage."""
    is_mine = owned(selection.shard)
    return [[stream for stream in stage if is_mine(stream.commands[0].user)] for stage in stages(workload.commands)]


def _note_plan(statistics: Statistics, plan: Sequence[Sequence[Stream]], pacing: Pacing) -> None:
    """Record how many commands were due in the measured time."""
    schedule, lateness = pacing.schedule, statistics.lateness
    if schedule is None or lateness is None:
        return
    first_ns, last_ns = pacing.warm_up_ns, int(pacing.planned_end_s * 1e9)
    dues = (schedule.due_ns(*item) for streams in plan for stream in streams for item in stream)
    lateness.planned = sum(first_ns <= due_ns < last_ns for due_ns in dues)
    lateness.planned_s = max(0.0, pacing.planned_end_s - pacing.warm_up_s)


def _run_here(task: _Task, recorder: AnswerWriter | None) -> _Run:
    server, options, stopping = task.server, task.options, task.interrupt.stopping
    statistics = Statistics(is_open=options.pacing.schedule is not None)
    with staying_on(options.processor), server.clients(task.threads, stopping, statistics.record_connect) as clients:
        run = Replay(len(task.workload.commands), server, clients, statistics, stopping, recorder, options.pacing)
        before_s = time.process_time()
        with _progress(run.statistics, task):
            run.start()
            for streams in task.plan:
                if stopping.is_set() or run.is_over:
                    break
                run.run(streams)
        cpu_s = time.process_time() - before_s
    if run.stopped is not None and not run.statistics.answered:
        raise ReplayError(run.stopped)
    return _Run(run.statistics, run.answered, run.stopped, cpu_s)


def _run_processes(task: _Task, recorder: AnswerWriter | None) -> _Run:
    server, options, processes = task.server, task.options, task.processes
    shard, commands = options.selection.shard, len(task.workload.commands)
    workers = WorkerProcesses(processes, commands, options.pacing, task.interrupt.stopping)

    def share(user: str | None) -> int:
        return (owner(user, shard) or 0) % processes

    with tempfile.TemporaryDirectory(
        prefix="loadgen-", dir=None if recorder is None else recorder.path.parent
    ) as folder:
        parts = [Path(folder) / str(number) for number in range(processes)]

        @contextmanager
        def launch(number: int, stopping: threading.Event) -> Iterator[Replay]:
            count = task.threads // processes + (number < task.threads % processes)
            writer = (
                None
                if recorder is None
                else AnswerWriter(parts[number], None, compressed=recorder.compressed, is_json=server.speaks_trading)
            )
            statistics = Statistics(is_open=options.pacing.schedule is not None)
            with (
                staying_on(options.processor, number),
                writer or contextlib.nullcontext(),
                server.clients(count, stopping, statistics.record_connect) as clients,
            ):
                yield Replay(commands, server, clients, statistics, stopping, writer, options.pacing)

        before_s = time.process_time()
        with workers.launched(launch, task.plan, share), _progress(workers, task):
            workers.run(task.plan, share)
        cpu_s = time.process_time() - before_s + workers.cpu_s
        if recorder is not None:
            recorder.join(parts)
    if workers.stopped is not None and not workers.statistics.answered:
        raise ReplayError(workers.stopped)
    return _Run(workers.statistics, workers.answered, workers.stopped, cpu_s)


@contextmanager
def _progress(source: Source, task: _Task) -> Iterator[None]:
    options = task.options
    asked = None if options.pacing.schedule is None else options.pacing.schedule.rate_at
    with contextlib.nullcontext() if options.quiet else shown(source, len(task.mine.commands), sys.stderr, asked):
        yield


@contextmanager
def _recording(task: _Task) -> Iterator[AnswerWriter | None]:
    """Yield the writer of the answers file, with the initial accounts already in it; None if none is wanted."""
    server, options, interrupt = task.server, task.options, task.interrupt
    if options.answers is None:
        yield None
        return
    started_ms = time.time_ns() // 1_000_000
    header = Header(
        server.run_id,
        server.target.url,
        len(task.mine.commands),
        started_ms,
        options.baseline,
        options.selection,
        whole=options.pacing.duration_s is None,
    )
    compressed = options.answers.suffix == ".gz"
    with (
        written_beside(options.answers, server.run_id) as beside,
        AnswerWriter(beside, header, compressed=compressed, is_json=server.speaks_trading) as writer,
    ):
        if options.baseline and server.speaks_trading:
            with server.clients(task.threads, interrupt.stopping) as clients:
                readings = read_accounts(task.mine.users(), server, clients, interrupt.stopping, entries=1)
            for user, reading in readings.items():
                if reading.account is not None:
                    writer.add_baseline(user, reading.account, next(iter(reading.entries), None))
                elif not reading.outcome.final and not interrupt.requested:
                    said = explain(reading.outcome)
                    raise ReplayError(f"the account of {user} cannot be read before the run: {said}")
        writer.flush()
        yield writer


def _report(task: _Task, run: _Run) -> dict[str, Any]:
    """Return the statistics of a run, with what was run against what."""
    workload, server, options = task.workload, task.server, task.options
    figures = run.statistics.figures()
    top = {key: figures.pop(key) for key in ("commands", "seconds", "rate", "errors")}
    bulky = {name: figures.pop(name) for name in BULKY}
    return {
        "loadgen": FORMAT,
        **top,
        "interrupted": task.interrupt.requested,
        "stopped": run.stopped,
        "resume": resume(workload.commands, run.answered, options.selection.shard, server.run_id),
        "run": {
            "id": server.run_id,
            "title": options.title,
            "labels": dict(options.labels),
            "system_version": options.system_version,
            "url": server.target.url,
            "workload": workload.source,
            "commands": len(task.mine.commands),
            "users_sent": len(task.mine.users()),
            "threads": task.threads,
            "processes": task.processes,
            **options.pacing.figures(),
            **options.selection.figures(),
            "started_at_ms": run.statistics.started_at_ms,
            "timeout_s": server.policy.timeout_s,
            "retries": server.policy.retries,
            "give_up_s": server.policy.give_up_s,
        },
        **figures,
        "cost": {
            "cpu_s": round(run.cpu_s, 3),
            "cpu_us_per_command": round(run.cpu_s * 1e6 / run.statistics.done, 1) if run.statistics.done else None,
        },
        "machines": [machine.describe()],
        **bulky,
    }


def resume(commands: Sequence[Command], answered: bytearray, shard: Shard, run_id: str) -> dict[str, Any] | None:
    """Return how to resume an unfinished run, or None if it finished.

    `repeats` is the most commands of one user that would be sent a second time: they are not applied again as long as
    the server remembers their keys.
    """
    is_mine = owned(shard)
    first: int | None = None
    repeated: Counter[str] = Counter()
    for position, command in enumerate(commands):
        if not answered[position]:
            if first is None and is_mine(command.user):
                first = position
        elif first is not None and command.user is not None:
            repeated[command.user] += 1
    if first is None:
        return None
    most = max(repeated.values(), default=0)
    return {
        "run_id": run_id,
        "from_transaction": commands[first].transaction,
        "repeats": most,
        "safe": most <= KEPT_KEYS,
    }
