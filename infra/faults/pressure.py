"""Requests that are sent over and over while something else goes wrong: one busy user, or logs of all users."""

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
"""What a fault around the servers is no reason for; 502, 503 and 504 it may be."""


class Pressure:
    """Sends requests of its own; `statuses` counts how all of them were answered."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._address = (str(parts.hostname), parts.port or 80)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()

    def begin(self, path: str, body: Mapping[str, str], at_once: int) -> Callable[[], None]:
        """Send a POST over and over, so many at the same time; return what ends it."""
        over = threading.Event()
        threads = [threading.Thread(target=self._repeat, args=(path, body, over)) for _ in range(at_once)]
        for thread in threads:
            thread.start()

        def end() -> None:
            over.set()
            for thread in threads:
                thread.join()

        return end

    def wrong(self) -> str:
        """Return what is wrong with the answers, nothing when all may be."""
        failed = {status: count for status, count in self.statuses.items() if status in _FAILURES_OF_OURS}
        return f"{failed} among {dict(self.statuses)}" if failed else ""

    def _repeat(self, path: str, body: Mapping[str, str], over: threading.Event) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=_ANSWER_SECONDS)
        with contextlib.closing(connection):
            while not over.is_set():
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
