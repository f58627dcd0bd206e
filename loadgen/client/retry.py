"""Delivering a request until it has a final answer, or must be given up.

Sending again is safe because every command carries an idempotency key, the same for all its tries. Tries are repeated
in place, so nothing of the same user can overtake.
"""

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from loadgen.client.connection import Answer, Connection, ExchangeError, StaleConnectionError

FINAL_STATUSES = frozenset({200, 400, 409, 422})
"""A success, a refusal for the request's form, a rejection by the rules, a reused key: the same however often sent."""

RETRY_STATUSES = frozenset({429, 502, 503, 504})
"""Not now: the same request may succeed later."""

REFUSED_STATUSES = frozenset({401, 403})
"""The token is not accepted."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried. Times in seconds.

    The wait before try n is drawn from 0 to `first_wait_s` x 2^n, at most `longest_wait_s` (exponential backoff with
    full jitter); a server's Retry-After, as far as `longest_retry_after_s`, is waited for before that.
    """

    timeout_s: float = 15.0
    retries: int = 12
    give_up_s: float = 60.0
    first_wait_s: float = 0.05
    longest_wait_s: float = 3.0
    longest_retry_after_s: float = 5.0

    def wait_s(self, retry: int, retry_after_s: float) -> float:
        """Return how long to wait before a retry, counted from 0."""
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(retry, 30))
        jitter = random.uniform(0.0, longest)  # noqa: S311 (spreads retries; no secret)
        return min(retry_after_s, self.longest_retry_after_s) + jitter


class Outcome(NamedTuple):
    """What became of a request.

    `status` is that of the last answer, 0 without one. `code` is `ok`, the problem's code, or the reason why there is
    no final answer. `latency_us` runs from the first send to the last byte of the last answer, in microseconds, all
    tries and the waits between them included; `reasons` says why each try but the last one failed.
    """

    final: bool
    status: int
    code: str
    body: bytes
    tries: int
    reasons: tuple[str, ...]
    reconnects: int
    replayed: bool
    sent_ms: int
    received_ms: int
    latency_us: int

    @property
    def refused(self) -> bool:
        """Return whether the server did not accept the token."""
        return self.status in REFUSED_STATUSES


class _Verdict(NamedTuple):
    final: bool
    again: bool
    code: str
    retry_after_s: float = 0.0


class Courier:
    """Delivers requests one after another over one connection.

    `stopping` ends the waits between tries: a request that waits then gets no further try.
    """

    def __init__(self, connection: Connection, policy: RetryPolicy, stopping: threading.Event) -> None:
        self._connection = connection
        self._policy = policy
        self._stopping = stopping

    def deliver(self, request: bytes, timeout_s: float | None = None) -> Outcome:
        """Send a request, again and again where that may help; never raises for what the server or network does.

        `timeout_s` is another time-out for the tries of this request, in seconds.
        """
        sent_ms = time.time_ns() // 1_000_000
        start = time.perf_counter_ns()
        reasons: list[str] = []
        reconnects = 0
        while True:
            answer: Answer | None = None
            try:
                answer = self._connection.exchange(request, timeout_s)
                verdict = judge(answer)
            except StaleConnectionError:
                reconnects += 1
                if reconnects == 1:
                    continue
                verdict = _Verdict(final=False, again=True, code=StaleConnectionError.reason)
            except ExchangeError as error:
                verdict = _Verdict(final=False, again=True, code=error.reason)
            now = time.perf_counter_ns()
            if not verdict.again or not self._wait(len(reasons), verdict, (now - start) / 1e9, timeout_s or 0.0):
                break
            reasons.append(verdict.code)
        return Outcome(
            verdict.final,
            0 if answer is None else answer.status,
            verdict.code,
            b"" if answer is None else answer.body,
            len(reasons) + 1,
            tuple(reasons),
            reconnects,
            answer is not None and answer.header(b"idempotent-replayed") == b"true",
            sent_ms,
            time.time_ns() // 1_000_000,
            (now - start) // 1000,
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _wait(self, retry: int, verdict: _Verdict, elapsed_s: float, allowed_s: float) -> bool:
        """Wait before a retry; return False when there is none: too many, too late, or the run is stopping."""
        if retry >= self._policy.retries:
            return False
        wait_s = self._policy.wait_s(retry, verdict.retry_after_s)
        if elapsed_s + wait_s >= max(self._policy.give_up_s, allowed_s):
            return False
        return not self._stopping.wait(wait_s)


def judge(answer: Answer) -> _Verdict:
    """Return whether an answer is final, worth another try, or neither."""
    status = answer.status
    problem = parse_object(answer.body)
    if status == 200:
        if problem is None:
            return _Verdict(final=False, again=True, code="broken_answer")
        return _Verdict(final=True, again=False, code="ok")
    code = problem.get("code") if problem is not None else None
    if status in RETRY_STATUSES:
        return _Verdict(
            final=False,
            again=True,
            code=code if isinstance(code, str) else f"http_{status}",
            retry_after_s=_retry_after_s(answer),
        )
    if status in FINAL_STATUSES:
        if not isinstance(code, str):
            return _Verdict(final=False, again=True, code="broken_answer")
        return _Verdict(final=True, again=False, code=code)
    return _Verdict(final=False, again=False, code=code if isinstance(code, str) else f"http_{status}")


def parse_object(body: bytes, parse_float: Callable[[str], Any] | None = None) -> dict[str, Any] | None:
    """Return the JSON object in a body, None when there is none."""
    try:
        value = json.loads(body.decode(), parse_float=parse_float)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _retry_after_s(answer: Answer) -> float:
    """Return what the server asks to wait, in seconds or as a date; 0 without a usable wish."""
    value = answer.header(b"retry-after")
    if value is None:
        return 0.0
    text = value.decode("latin-1")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
