"""Requests with keys that are stuck in a suspended server, while their user goes on through the others.

A client sends commands through HAProxy to all servers, one of which is suspended and keeps what it got. HAProxy sends
them to the others, the client goes on with newer keys, and then the server is resumed: it must execute none of them
again. Everything is retried with its key until it is answered, so each user's final cash is known.
"""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HELD = 4
"""How many are sent at once: with two servers in turn, about half of them meet the suspended one."""

NEWER = 1_000
"""How many of a user's keys are remembered, however old (docs/rules.md section 7)."""

HELD_CENTS = 100_000
_AT_ONCE = 4
_MOST_THREADS = 64
_GIVE_UP_SECONDS = 240.0
_PAUSE_SECONDS = 0.2
_ANSWER_SECONDS = 60.0


class NotAnsweredError(Exception):
    """A command got no final answer, so its user's final cash is unknown."""


@dataclass(slots=True)
class _User:
    name: str
    stopping: threading.Event = field(default_factory=threading.Event)
    sent: list["Future[int]"] = field(default_factory=list)


class LateRequests:
    """Sends commands of its own users; `expected_cents` says what each must have in the end."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._address = (str(parts.hostname), parts.port or 80)
        self._token = token
        self._users: list[_User] = []
        self._threads = ThreadPoolExecutor(_MOST_THREADS, "late")

    def begin(self) -> Callable[[], None]:
        """Let a new user send commands, the first of which should meet a suspended server; return what ends it.

        Commands in progress then are still brought to their answers.
        """
        user = _User(f"late-{len(self._users) + 1}")
        self._users.append(user)
        held = [(f"held-{number}", HELD_CENTS) for number in range(HELD)]
        newer = _OneByOne((f"newer-{number}", 1) for number in range(NEWER))
        user.sent += [self._threads.submit(self._give, user, iter([one]), None) for one in held]
        user.sent += [self._threads.submit(self._give, user, newer, user.stopping) for _ in range(_AT_ONCE)]
        return user.stopping.set

    def expected_cents(self) -> dict[str, int]:
        """Return what each user must have once everything is answered; raises NotAnsweredError."""
        for user in self._users:
            user.stopping.set()
        return {user.name: sum(one.result() for one in user.sent) for user in self._users}

    def close(self) -> None:
        """Send no more commands."""
        for user in self._users:
            user.stopping.set()
        self._threads.shutdown(cancel_futures=True)

    def _give(self, user: _User, commands: Iterator[tuple[str, int]], stopping: threading.Event | None) -> int:
        """Send commands until there are no more, or it is to stop; return the cents they added."""
        added = 0
        for key, cents in commands:
            self._insist(user.name, key, cents)
            added += cents
            if stopping is not None and stopping.is_set():
                break
        return added

    def _insist(self, user: str, key: str, cents: int) -> None:
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while (status := self._send(user, key, cents)) != http.HTTPStatus.OK:
            if time.monotonic() > deadline or status in {400, 401, 403, 404, 409, 422}:
                raise NotAnsweredError(f"{key} of {user}: the last answer was {status}")
            time.sleep(_PAUSE_SECONDS)

    def _send(self, user: str, key: str, cents: int) -> int:
        """Return the status of the answer, 0 without one."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        body = json.dumps({"amount": f"{cents // 100}.{cents % 100:02d}"})
        connection = http.client.HTTPConnection(*self._address, timeout=_ANSWER_SECONDS)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", f"/users/{user}/add", body, headers)
            response = connection.getresponse()
            response.read()
            return response.status
        return 0


class _OneByOne:
    """An iterator that threads share."""

    def __init__(self, items: Iterator[tuple[str, int]]) -> None:
        self._items = items
        self._lock = threading.Lock()

    def __iter__(self) -> "_OneByOne":
        return self

    def __next__(self) -> tuple[str, int]:
        with self._lock:
            return next(self._items)
