"""Repeated requests during a fault: one busy user, or logs of all users."""

import contextlib
import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

_ANSWER_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
_FAILURES_OF_OURS = frozenset({500, 501})
"""Statuses for which a fault around the servers is no excuse; for 502, 503 and 504 it is."""


class Pressure:
    """Sends its own requests; `sent` counts them, `statuses` how they were answered."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._address = (str(parts.hostname), parts.port or 80)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.sent = 0
        self.statuses: Counter[int] = Counter()

    def begin(self, path: str, body: Mapping[str, str], at_once: int, pause_seconds: float = 0.0) -> Callable[[], None]:
        """Repeat a POST, `at_once` at the same time; return what ends it, except for requests in progress."""
        over = threading.Event()
        for _ in range(at_once):
            thread = threading.Thread(target=self._repeat, args=(path, body, over, pause_seconds), daemon=True)
            self._threads.append(thread)
            thread.start()
        return over.set

    def settle(self) -> None:
        """Return when ended requests have their answers: other faults may have to end before that."""
        for thread in self._threads:
            thread.join()

    def wrong(self) -> str:
        """Return what is wrong with the answers; empty if nothing is."""
        failed = {status: count for status, count in self.statuses.items() if status in _FAILURES_OF_OURS}
        return f"{failed} among {dict(self.statuses)}" if failed else ""

    def _repeat(self, path: str, body: Mapping[str, str], over: threading.Event, pause_seconds: float) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=_ANSWER_SECONDS)
        with contextlib.closing(connection):
            while not over.wait(pause_seconds):
                with self._lock:
                    self.sent += 1
                try:
                    connection.request("POST", path, json.dumps(body), self._headers)
                    response = connection.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException):
                    connection.close()
                    over.wait(_PAUSE_SECONDS)
                    continue
                with self._lock:
                    self.statuses[response.status] += 1
