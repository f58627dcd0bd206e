"""Worker processes of one server: all serve until a signal to stop, and when one dies the server has failed."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

from infra.host.signals import STOP_SIGNALS, comes

_POLL_SECONDS = 0.1


def run_workers(work: Callable[[int], None], name: str, count: int, grace_seconds: float) -> int:
    """Run `work(1)` to `work(count)` as processes until a signal to stop; return 1 when one of them ended by itself.

    The caller has blocked STOP_SIGNALS, and the workers begin with them blocked. They are told to stop with SIGTERM and
    have the grace, and a second, for it.
    """
    fork = multiprocessing.get_context("fork")
    workers: list[BaseProcess] = [
        fork.Process(target=work, args=(number,), name=f"{name}-{number}") for number in range(1, count + 1)
    ]
    for worker in workers:
        worker.start()
    status = 0
    while status == 0 and not comes(STOP_SIGNALS, _POLL_SECONDS):
        for worker in workers:
            if not worker.is_alive():
                print(f"{worker.name} died (exit code {worker.exitcode})", flush=True)
                status = 1
    _stop(workers, grace_seconds + 1)
    return status


def _stop(workers: Sequence[BaseProcess], seconds: float) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()
        worker.join()
