"""Several processes that send one workload, each with its own users, threads and statistics.

The processes are forked after the workload is read, so they share it. The first process goes through the stages and
tells the others what to send; a stage is over when each has reported. Processes ignore Ctrl-C and SIGTERM: they end
when they are told to, and at once if the first process is gone.
"""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import reduce
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any

from loadgen.results.statistics import Live, Statistics
from loadgen.results.timeline import Interval
from loadgen.run.pacing import Pacing
from loadgen.run.replay import Replay
from loadgen.run.server import ReplayError
from loadgen.workload.streams import Stream

REPORT_S = 0.25
"""How often a process reports its progress."""

_HEAD_START_NS = 20_000_000
"""How long before the run's start the processes are told of it."""

Launch = Callable[[int, threading.Event], AbstractContextManager[Replay]]
"""Prepares what the process with this number needs, in that process."""

Share = Callable[[str | None], int]
"""Returns the number of the process that sends a user's commands."""


class WorkerProcessError(ReplayError):
    """A process of the load generator failed."""


def can_fork() -> bool:
    """Return whether this platform can run more than one process."""
    return "fork" in multiprocessing.get_all_start_methods()


class WorkerProcesses:
    """The processes of a run, and the sum of their statistics."""

    def __init__(self, count: int, size: int, pacing: Pacing, stopping: threading.Event) -> None:
        self.statistics = Statistics()
        self.answered = bytearray(size)
        self.cpu_s = 0.0
        self.stopped: str | None = None
        self._pacing = pacing
        self._stopping = stopping
        self._told_to_stop = False
        self._lives = [Live(0, 0, 0, Counter(), Interval())] * count
        self._links: list[Connection] = []

    @contextmanager
    def launched(self, launch: Launch, plan: Sequence[Sequence[Stream]], share: Share) -> Iterator[None]:
        """Start the processes, which end with the block. Raises WorkerProcessError if one cannot begin."""
        context = multiprocessing.get_context("fork")
        processes: list[ForkProcess] = []
        gc.collect()
        gc.freeze()  # shared memory stays shared: no collection touches it in the processes
        try:
            for number in range(len(self._lives)):
                link, theirs = context.Pipe()
                self._links.append(link)
                arguments = (number, theirs, list(self._links), launch, plan, share)
                process = context.Process(target=_work, args=arguments, name=f"loadgen-{number}", daemon=True)
                process.start()
                processes.append(process)
                theirs.close()
            self._collect(set(range(len(processes))), "ready")
            yield
        finally:
            for link in self._links:
                link.close()
            for process in processes:
                process.kill()  # it has reported everything
                process.join()
            gc.unfreeze()

    def run(self, plan: Sequence[Sequence[Stream]], share: Share) -> None:
        """Send the stages one after another."""
        start_ns = time.perf_counter_ns() + _HEAD_START_NS
        self.statistics.start(start_ns + self._pacing.warm_up_ns)
        everyone = set(range(len(self._links)))
        for number in everyone:
            self._tell(number, "start", start_ns)
        for index, stage in enumerate(plan):
            if self._stopping.is_set() or time.perf_counter_ns() >= self._pacing.ends_ns(start_ns):
                break
            busy = {share(stream.commands[0].user) for stream in stage}
            for number in busy:
                self._tell(number, "stage", index)
            self._collect(busy, "done")
        for number in everyone:
            self._tell(number, "end")
        self._collect(everyone, "result")

    def live(self) -> Live:
        """Return the progress of all processes."""
        return reduce(Live.plus, self._lives)

    def _tell(self, number: int, *message: object) -> None:
        try:
            self._links[number].send(message)
        except OSError as error:
            raise _ended(number) from error

    def _collect(self, waited_for: set[int], kind: str) -> None:
        """Take messages until each of these processes has sent one of this kind."""
        missing = set(waited_for)
        while missing:
            if self._stopping.is_set() and not self._told_to_stop:
                self._told_to_stop = True
                for number in range(len(self._links)):
                    self._tell(number, "stop")
            for link in wait(self._links, timeout=0.1):
                assert isinstance(link, Connection)
                number = self._links.index(link)
                try:
                    message = link.recv()
                except (EOFError, OSError) as error:
                    raise _ended(number) from error
                self._take(number, message)
                if message[0] == kind:
                    missing.discard(number)

    def _take(self, number: int, message: tuple[Any, ...]) -> None:
        match message:
            case "progress", live:
                self._lives[number] = live
            case "done", trouble:
                if trouble is not None:
                    self.stopped = self.stopped or trouble
                    self._stopping.set()
            case "failed", said:
                raise WorkerProcessError(f"process {number + 1} of the load generator: {said}")
            case "result", figures, answered, cpu_s:
                self._add(figures, answered, cpu_s)
            case _:
                pass

    def _add(self, figures: Mapping[str, Any], answered: bytes, cpu_s: float) -> None:
        self.statistics.add(Statistics.read(figures, self.statistics.started_at_ms))
        self.cpu_s += cpu_s
        both = int.from_bytes(self.answered) | int.from_bytes(answered)
        self.answered = bytearray(both.to_bytes(len(self.answered)))


def _ended(number: int) -> WorkerProcessError:
    return WorkerProcessError(f"process {number + 1} of the load generator ended unexpectedly")


class _Process:
    """Runs in a worker process: it takes orders, and a thread sends one stage at a time."""

    def __init__(self, link: Connection, replay: Replay, mine: Sequence[Sequence[Stream]]) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._replay = replay
        self._mine = mine

    def say(self, *message: object) -> None:
        with self._lock:
            self._link.send(message)

    def obey(self, stopping: threading.Event) -> None:
        """Follow the first process's orders until the end."""
        self.say("ready")
        while True:
            if not self._link.poll(REPORT_S):
                self._report()
                continue
            match self._link.recv():
                case "start", start_ns:
                    self._replay.start(start_ns)
                case "stage", index:
                    threading.Thread(target=self._send, args=(self._mine[index],), daemon=True).start()
                case ("stop",):
                    stopping.set()
                case ("end",):
                    break
        self._report()

    def _report(self) -> None:
        self.say("progress", self._replay.statistics.live())

    def _send(self, streams: Sequence[Stream]) -> None:
        try:
            self._replay.run(streams)
        except Exception as error:  # noqa: BLE001 (said by the first process)
            self.say("failed", f"{type(error).__name__}: {error}")
        else:
            self.say("done", self._replay.stopped)


def _work(
    number: int,
    link: Connection,
    others: Sequence[Connection],
    launch: Launch,
    plan: Sequence[Sequence[Stream]],
    share: Share,
) -> None:
    """Run a worker process."""
    for number_of_signal in (signal.SIGINT, signal.SIGTERM):  # sent to the process group, for the first process
        signal.signal(number_of_signal, signal.SIG_IGN)
    for other in others:  # otherwise nobody would notice that the first process is gone
        other.close()
    stopping = threading.Event()
    mine = [[stream for stream in stage if share(stream.commands[0].user) == number] for stage in plan]
    try:
        try:
            with launch(number, stopping) as replay:
                _Process(link, replay, mine).obey(stopping)
            link.send(("result", replay.statistics.figures(), bytes(replay.answered), time.process_time()))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 (said by the first process)
            link.send(("failed", str(error) or type(error).__name__))
        while True:
            link.recv()  # until the end of the stream: everything reported has been read
    except (EOFError, OSError):
        os._exit(1)
