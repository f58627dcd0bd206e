"""Measured processes: programs run to their end, and the CPU time and memory of others meanwhile."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.host import guard
from infra.local.stack import PROJECT

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_EVERY_S = 0.05
_SHOWN_LINES = 30
_MEGABYTE = 1_000_000

MACHINE = "machine"
"""All work on the machine."""


class BenchFailedError(Exception):
    """A part of the benchmark failed or did not verify: its figures would be worthless."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a part's processes in megabytes: the last sample, and the sum of each process's peak."""

    resident_mb: float
    peak_mb: float


@dataclass(slots=True)
class Sampler:
    """Samples the parts of a stack, so that the CPU time of any period is known afterwards.

    A sample costs some 0.2 ms. CPU time is counted in ticks of 10 ms, precise enough for periods of a second.
    """

    roots: Mapping[str, int]
    _samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    _memory: dict[str, Memory] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample during the block, and once more at its end."""
        families = {name: family(pid) for name, pid in self.roots.items()}

        def look_again() -> None:
            while not self._stopping.wait(_EVERY_S):
                self._look(families)

        self._look(families)
        thread = threading.Thread(target=look_again, name="sampler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()
            self._look(families)

    def _look(self, families: Mapping[str, Sequence[int]]) -> None:
        now = time.time()
        seconds = {name: sum(map(cpu_seconds, pids)) for name, pids in families.items()}
        self._samples.append((now, {**seconds, MACHINE: machine_cpu_seconds()}))
        for name, pids in families.items():
            if found := [memory for pid in pids if (memory := memory_of(pid)) is not None]:
                self._memory[name] = Memory(sum(one.resident_mb for one in found), sum(one.peak_mb for one in found))

    def cpu_seconds(self, start_s: float, end_s: float) -> dict[str, float]:
        """Return the CPU time of each part between two moments (epoch seconds), from the samples around them."""
        before, after = self._at(start_s), self._at(end_s)
        return {name: max(0.0, after[name] - before[name]) for name in before}

    def memory(self) -> dict[str, Memory]:
        """Return the memory of each part."""
        return dict(self._memory)

    def _at(self, moment_s: float) -> dict[str, float]:
        (then, low), (later, high) = self._samples[0], self._samples[-1]
        for (one, values), (other, next_values) in zip(self._samples, self._samples[1:], strict=False):
            if one <= moment_s <= other:
                (then, low), (later, high) = (one, values), (other, next_values)
                break
        part = 0.0 if later <= then else min(1.0, max(0.0, (moment_s - then) / (later - then)))
        return {name: low[name] + part * (high[name] - low[name]) for name in low}


def family(pid: int) -> list[int]:
    """Return a process and all its descendants; if it is gone, itself."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return [pid]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_cpu_seconds() -> float:
    """Return the CPU time of all processes on the machine."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def memory_of(pid: int) -> Memory | None:
    """Return the memory of a process, or None if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
    if len(kilobytes) < 2:
        return None
    return Memory(kilobytes["VmRSS"] * 1024 / _MEGABYTE, kilobytes["VmHWM"] * 1024 / _MEGABYTE)


@contextmanager
def program(
    log: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program of this project, with its output in `log`; it dies with us, and at the latest with the block.

    It has its own session: a Ctrl-C is for us, and we end it.
    """
    command = guard.guarded(sys.executable, "-m", module, *arguments)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=PROJECT,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def run_program(log: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a program of this project to its end and return its output; raises BenchFailedError if it fails."""
    with program(log, module, *arguments, environment=environment) as process:
        status = process.wait()
    said = log.read_text(errors="replace")
    if status != 0:
        raise failure(f"{module} {' '.join(arguments[:1])} ended with exit status {status}", said)
    return said


def failure(what: str, said: str) -> BenchFailedError:
    """Return the error of a failed program, with the end of its output."""
    tail = "".join(f"\n  | {line}" for line in said.splitlines()[-_SHOWN_LINES:]) or " nothing"
    return BenchFailedError(f"{what}; its last lines:{tail}")
