"""Which processor a process of the load generator runs on.

Python runs one thread at a time and cannot use a second processor, but the kernel spreads its threads over all
processors, including the server's, and each hand-over of the interpreter then wakes another processor.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

ANY = "any"
LAST = "last"


def parse_processor(text: str) -> int | None:
    """Return the index of a processor, -1 for the last, None for any; raises ArgumentTypeError."""
    if text == ANY:
        return None
    if text == LAST:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise argparse.ArgumentTypeError(f"must be a number, counted from 0, {LAST!r} or {ANY!r}, not {text!r}")
    return int(text)


@contextmanager
def staying_on(index: int | None, number: int = 0) -> Iterator[None]:
    """Pin this thread, and those it starts meanwhile, to one of the available processors, by index.

    With several processes, process `number` (from 0) takes that many before it, modulo the number of processors. None
    leaves it to the kernel, as do systems without affinity.
    """
    if index is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[(index - number) % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


class ProcessorUse:
    """How much of a processor this process uses, sampled now and then."""

    _EVERY_NS = 50_000_000
    _SATURATED = 0.85

    def __init__(self) -> None:
        self._at_ns, self._used_ns = time.perf_counter_ns(), time.process_time_ns()
        self._saturated = False

    def is_saturated(self) -> bool:
        """Return whether it recently used all of the one processor that Python can use."""
        now_ns = time.perf_counter_ns()
        elapsed_ns = now_ns - self._at_ns
        if elapsed_ns >= self._EVERY_NS:
            used_ns = time.process_time_ns()
            self._saturated = used_ns - self._used_ns > self._SATURATED * elapsed_ns
            self._at_ns, self._used_ns = now_ns, used_ns
        return self._saturated
