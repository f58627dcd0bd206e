"""A replay from its file to its report: starting state, run, record of answers, figures."""

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.answers import AnswerWriter, Header
from loadgen.delivery import Courier
from loadgen.interrupt import Interrupt
from loadgen.progress import shown
from loadgen.replay import Replay, ReplayError, Server, explain, read_summaries
from loadgen.workload import Workload


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What a replay is to do besides sending the commands. `answers` is where the answers are recorded, if at all."""

    threads: int
    answers: Path | None
    baseline: bool
    quiet: bool


def replay(workload: Workload, server: Server, options: ReplayOptions, interrupt: Interrupt) -> dict[str, Any]:
    """Replay a workload and return its report. Raises ReplayError, AnswersError."""
    users = workload.users()
    threads = min(options.threads, max(1, len(users)))
    with (
        interrupt.handled(),
        server.couriers(threads, interrupt.stopping) as couriers,
        _recording(workload, users, server, options, couriers, interrupt) as recorder,
    ):
        run = Replay(workload.commands, server, couriers, interrupt.stopping, recorder)
        progress = (
            contextlib.nullcontext() if options.quiet else shown(run.statistics, len(workload.commands), sys.stderr)
        )
        with progress:
            run.run()
    return _report(workload, server, run, interrupt, users=len(users), threads=threads)


@contextmanager
def _recording(
    workload: Workload,
    users: list[str],
    server: Server,
    options: ReplayOptions,
    couriers: list[Courier],
    interrupt: Interrupt,
) -> Iterator[AnswerWriter | None]:
    """Give the writer of the answers file, the accounts' starting state already in it; None when none is wanted."""
    if options.answers is None:
        yield None
        return
    started_ms = time.time_ns() // 1_000_000
    header = Header(server.run_id, server.target.url, len(workload.commands), started_ms, options.baseline)
    with AnswerWriter(options.answers, header) as writer:
        if options.baseline:
            summaries = read_summaries(users, server, couriers, interrupt.stopping)
            for user, outcome in summaries.items():
                if outcome.status == 200:
                    writer.add_baseline(user, outcome.body)
                elif not outcome.final and not interrupt.requested:
                    raise ReplayError(f"the account of {user} cannot be read before the run: {explain(outcome)}")
        yield writer


def _report(
    workload: Workload, server: Server, run: Replay, interrupt: Interrupt, *, users: int, threads: int
) -> dict[str, Any]:
    """Return the figures of a run, with what was run against what."""
    figures = run.statistics.figures()
    top = {key: figures.pop(key) for key in ("commands", "seconds", "rate", "errors")}
    return {
        **top,
        "interrupted": interrupt.requested,
        "stopped": run.stopped,
        "run": {
            "id": server.run_id,
            "url": server.target.url,
            "workload": workload.source,
            "commands": len(workload.commands),
            "users": users,
            "threads": threads,
            "started_at_ms": run.statistics.started_at_ms,
            "timeout_s": server.policy.timeout_s,
            "retries": server.policy.retries,
            "give_up_s": server.policy.give_up_s,
        },
        **figures,
    }
