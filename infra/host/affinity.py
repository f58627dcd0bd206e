"""Which processor a server runs on.

A server runs Python on one thread at a time and cannot use a second processor, but the kernel spreads its threads over
all processors, and each hand-over of the interpreter then wakes another one. Pinned to one, a server with 45 busy
connections took 0.43 to 0.47 ms of CPU per command and did 1,660 to 1,770 commands per second; on two processors,
alternating with those runs, 0.60 to 0.65 ms and 1,190 to 1,450 (two cores, with everything on them).
"""

import argparse
import os

ANY = "any"


def stay_on(index: int | None) -> bool:
    """Pin this process to one of its processors, by index modulo their number; return whether it is pinned.

    None leaves it to the kernel, as do systems without affinity.
    """
    if index is None or not hasattr(os, "sched_setaffinity"):
        return False
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[index % len(allowed)]})
    return True


def left_by(servers: int) -> list[int]:
    """Return the processors that this many servers, the first on that of index 0, leave free.

    By the kernel's numbers; empty if the servers take all, or on systems without affinity.
    """
    return sorted(os.sched_getaffinity(0))[servers:] if hasattr(os, "sched_getaffinity") else []


def parse_processor(text: str) -> int | None:
    """Return the index of a processor, None for any; raises ArgumentTypeError."""
    if text == ANY:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise argparse.ArgumentTypeError(f"{text} is neither a number, counted from 0, nor {ANY!r}")
    return int(text)
