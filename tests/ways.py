"""Code carried out in each way of waiting: on threads of its own, and as greenlets on one thread."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import uvloop

from chalicelib import waiting
from infra.servers.gateway.waiting import LoopWaiting

SECONDS = 60.0

Together = Callable[..., None]


def on_threads(*calls: Callable[[], None]) -> None:
    """Make calls at the same time, each on a thread; raises what one raises."""
    with ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result(SECONDS)


def on_a_loop(*calls: Callable[[], None]) -> None:
    """Make calls at the same time, each in a greenlet of one event loop; raises what one raises."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        here = LoopWaiting(loop, threads=2)
        waiting.use(here)
        ends = [loop.create_future() for _ in calls]
        for call, end in zip(calls, ends, strict=True):
            here.begin(partial(_told, call, end))
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*ends)

    thread = threading.Thread(target=lambda: outcome.append(_raised(lambda: uvloop.run(run()))))
    outcome: list[BaseException | None] = []
    thread.start()  # what waiting is on our own thread stays as it is
    thread.join()
    if outcome[0] is not None:
        raise outcome[0]


def _told(call: Callable[[], None], end: "asyncio.Future[None]") -> None:
    raised = _raised(call)
    if raised is None:
        end.set_result(None)
    else:
        end.set_exception(raised)


def _raised(call: Callable[[], None]) -> BaseException | None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - it is handed on
        return error
    return None
