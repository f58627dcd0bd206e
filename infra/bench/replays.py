"""A replay of a generated workload on its own stack, verified, with the CPU time and memory of every process.

The load generator runs as users run it: in its own process, over HTTP, with --verify.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.config.settings import WRITE_CONCERNS
from infra.bench.processes import MACHINE, BenchFailedError, Memory, Sampler, failure, program
from infra.bench.sizes import Sizes
from infra.local.background import BackgroundStack, StackFailedError, running_stack
from infra.local.process import log_tail
from loadgen.workload.files import Command, write
from loadgen.workload.generate import generate

LOADGEN = "load generator"
OTHERS = "others"
"""The name for work on the machine that does not belong to the replay."""

STACK = ("--trigger-seconds", "0", "--quote-source", "fixed:10.00")
"""The stack of `make replay`."""

FORGETFUL = {"RECENT_ACCOUNTS": "0"}
"""Servers that keep no accounts in the process."""

NEW_ACCOUNTS = ("--no-baseline",)
"""A summary of each user before the clock runs would create the accounts, and leave them in the server's process."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is replayed on what. `rate` is that of the open model, in commands a second; None is the closed model.

    Several workers stand behind HAProxy, which balances as `balance` says. Without `keeps_accounts` they read the
    account for each command.
    """

    users: int
    commands: int
    workers: int = 1
    rate: float | None = None
    write_concern: str = WRITE_CONCERNS[0]
    balance: str = "user"
    keeps_accounts: bool = True

    @property
    def is_plain(self) -> bool:
        """Return whether it is like `make replay`, except for its size."""
        return self == Setting(self.users, self.commands)

    def words(self) -> str:
        """Return the setting in words."""
        said = [f"{self.commands:,} commands of {self.users:,} users"]
        if self.workers > 1:
            said.append(f"{self.workers} workers, balanced by {self.balance}")
        if not self.keeps_accounts:
            said.append("no account kept")
        if self.rate is not None:
            said.append(f"at {self.rate:,.0f} commands/s")
        if self.write_concern != WRITE_CONCERNS[0]:
            said.append(f"write concern {self.write_concern}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The figures of one replay. `cpu_us` is by part and per command, `memory` by part; latencies are in ms.

    `others` is how many cores other work on the machine kept busy meanwhile.
    """

    rate: float
    commands: int
    latency_ms: Mapping[str, float]
    by_command: Mapping[str, Mapping[str, float]]
    cpu_us: Mapping[str, float]
    memory: Mapping[str, Memory]
    others: float
    ended: Sequence[int] = ()
    """How many commands ended in each second."""


def replay(folder: Path, sizes: Sizes, setting: Setting) -> Replayed:
    """Generate, start a stack, replay, verify, stop the stack; raises BenchFailedError if anything fails."""
    place = folder / "replay"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    workload = place / "workload.txt"
    write_workload(workload, generate(setting.users, setting.commands, sizes.symbols, sizes.seed))
    environment = {"WRITE_CONCERN": setting.write_concern} | ({} if setting.keeps_accounts else FORGETFUL)
    servers = [f"--workers={setting.workers}", f"--balance={setting.balance}"]
    with bench_stack(place / "stack", *servers, environment=environment) as stack:
        found = replay_on(stack, place, workload, rate=setting.rate, more=NEW_ACCOUNTS)
    shutil.rmtree(place)
    return found


def write_workload(path: Path, commands: Iterable[Command]) -> None:
    """Write a workload file."""
    with path.open("wb") as file:
        write(commands, file)


@contextmanager
def bench_stack(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[BackgroundStack]:
    """Run the stack of `make replay` in `folder`; raises BenchFailedError when it does not start, stay or stop."""
    try:
        with running_stack(folder, *STACK, *arguments, environment=environment) as stack:
            try:
                yield stack
            except BenchFailedError as error:
                if (status := stack.process.poll()) is None:
                    raise
                said = "\n".join(log_tail(folder / "logs" / "gateway.log"))
                what = f"{error}\nThe stack had ended by then, with exit status {status}; the gateway"
                raise failure(what, said) from error
    except StackFailedError as error:
        raise BenchFailedError(str(error)) from error


def replay_on(
    stack: BackgroundStack, place: Path, workload: Path, *, rate: float | None = None, more: Sequence[str] = ()
) -> Replayed:
    """Replay a workload file on a running stack, verify it, and return its figures."""
    return replay_at(stack.url, stack.operator_token, stack.pids, place, workload, rate=rate, more=("--verify", *more))


def replay_at(
    url: str,
    token: str,
    pids: Mapping[str, int],
    place: Path,
    workload: Path,
    *,
    rate: float | None = None,
    more: Sequence[str] = (),
) -> Replayed:
    """Send a workload file to a server whose parts have these process ids, and return the figures."""
    report_file, log = place / "report.json", place / "loadgen.log"
    report_file.unlink(missing_ok=True)
    arguments = ["replay", str(workload), f"--url={url}", f"--token={token}", f"--json={report_file}", *more]
    if rate is not None:
        arguments += [f"--rate={rate:.3f}", "--allow-missed-rate"]
    with program(log, "loadgen", *arguments) as process:
        sampler = Sampler({**pids, LOADGEN: process.pid})
        with sampler.running():
            status = process.wait()
    if status != 0:
        raise failure(f"a replay ended with exit status {status}", log.read_text(errors="replace"))
    return _figures(json.loads(report_file.read_text()), sampler)


def _figures(report: Mapping[str, Any], sampler: Sampler) -> Replayed:
    start_s = report["run"]["started_at_ms"] / 1000
    seconds = sampler.cpu_seconds(start_s, start_s + report["seconds"])
    seconds[LOADGEN] = report["cost"]["cpu_s"]
    machine_s = seconds.pop(MACHINE)
    commands = report["commands"]
    others = max(0.0, machine_s - sum(seconds.values())) / report["seconds"]
    return Replayed(
        rate=report["rate"],
        commands=commands,
        latency_ms=_latency(report),
        by_command={name: _latency(found) for name, found in report["by_command"].items()},
        cpu_us={name: used * 1e6 / commands for name, used in seconds.items()},
        memory=sampler.memory(),
        others=others,
        ended=_by_second(report["intervals"]),
    )


def _by_second(timeline: Mapping[str, Any]) -> Sequence[int]:
    """Return how many commands ended in each second; longer intervals are spread evenly."""
    length = timeline["seconds"]
    return [row["commands"] // length for row in timeline["rows"] for _ in range(length)]


def _latency(figures: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the latencies that count: those from the intended start, if there is one."""
    found: Mapping[str, float] = figures["corrected_ms"] or figures["latency_ms"]
    return found
