"""Ctrl-C: the first one ends a run cleanly, the second one at once."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether the run is to stop, and whether the user wanted it."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.requested = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take Ctrl-C while the block runs: the first sets `stopping`, the second raises KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.stopping.set()
        print("Stopping after the commands under way; Ctrl-C again stops at once.", file=sys.stderr)
