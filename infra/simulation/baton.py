"""One of many threads runs at a time. Code that knows nothing of it is so carried out in any order one likes."""

from collections.abc import Callable
from threading import Lock, Thread
from typing import Any


class CrashedError(BaseException):
    """The process that was carrying this out is gone: nothing in it may catch this."""


class Actor:
    """Something that is carried out step by step: it runs until it calls `step`, and again when it gets the baton."""

    def __init__(self, name: str, server: object, work: Callable[[], Any]) -> None:
        self.name = name
        self.server = server
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_done = False
        self._crashes = False
        self._work = work
        self._mine, self._theirs = Lock(), Lock()
        self._mine.acquire()
        self._theirs.acquire()
        self._thread: Thread | None = None

    def run(self) -> None:
        """Let the actor go on until its next step or its end."""
        if self._thread is None:
            self._thread = Thread(target=self._carry_out, name=self.name, daemon=True)
            self._thread.start()
        self._mine.release()
        self._theirs.acquire()
        if self.is_done:
            self._thread.join()

    def crash(self) -> None:
        """End the actor where it stands."""
        self._crashes = True
        if not self.is_done:
            self.run()

    def step(self) -> None:
        """Hand over, and return when it is this actor's turn again; called by the actor itself."""
        self._theirs.release()
        self._mine.acquire()
        if self._crashes:
            raise CrashedError

    def _carry_out(self) -> None:
        self._mine.acquire()
        try:
            if self._crashes:
                self.error = CrashedError()
            else:
                self.result = self._work()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the judge wants to see it
            self.error = error
        self.is_done = True
        self._theirs.release()
