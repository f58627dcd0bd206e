"""Ctrl-C and SIGTERM: the first ends a run cleanly, the second at once."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def signals_handled(handler: Handler) -> Iterator[None]:
    """Install a handler for the signals that end a program while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, previous in before:
            signal.signal(number, previous)


class Interrupt:
    """Whether the run should stop, and whether the user asked for it."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.requested = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals while the block runs: the first sets `stopping`, the second raises KeyboardInterrupt."""
        with signals_handled(self._handle):
            yield

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.stopping.set()
        print("Stopping after the commands in flight; press Ctrl-C again to stop at once.", file=sys.stderr)
