"""Where processes run."""

import os

import psutil


def processors_of(process: psutil.Process) -> set[int]:
    """Return the processors that the threads of a process may run on."""
    return {number for thread in process.threads() for number in os.sched_getaffinity(thread.id)}
