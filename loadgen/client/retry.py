"""Sends a request until it has a final answer or is given up.

Retrying is safe where the dialect says so: a trading command has an idempotency key, the same for all its tries. Tries
are made in place, so no later command of the same user can overtake.
"""

import json
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Generic, NamedTuple, Protocol

from loadgen.client.connection import ClientConnection
from loadgen.client.dialect import AnyItem, Dialect, Item, Verdict
from loadgen.client.response import ExchangeError, Response

RETRY_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
"""The same request may succeed later. A 408 may be for the connection, sent while it was idle."""

_JSON_SPACE = " \t\r\n"
_read_json = json.JSONDecoder().raw_decode  # used for every answer: half the time of json.loads
_REPLAYED = b"idempotent-replayed"

REFUSED_STATUSES = frozenset({401, 403})
"""The token is not accepted."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a request is tried. Times in seconds.

    The wait before retry n is drawn from 0 to `first_wait_s` x 2^n, at most `longest_wait_s` (exponential backoff with
    full jitter). A server's Retry-After, up to `longest_retry_after_s`, is waited for first.
    """

    timeout_s: float = 15.0
    retries: int = 12
    give_up_s: float = 60.0
    first_wait_s: float = 0.05
    longest_wait_s: float = 3.0
    longest_retry_after_s: float = 5.0

    def wait_s(self, retry: int, retry_after_s: float) -> float:
        """Return the wait before a retry, counted from 0."""
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(retry, 30))
        jitter = random.uniform(0.0, longest)  # noqa: S311 (spreads retries; no secret)
        return min(retry_after_s, self.longest_retry_after_s) + jitter


class Outcome(NamedTuple):
    """The outcome of a request.

    `status` is that of the last answer, 0 without one. `code` is `ok`, the problem's code, or the reason why there is
    no final answer; `said` explains it if the body does not. `latency_us` runs from the first send, at `sent_ns` of
    `time.perf_counter_ns`, to the last byte of the last answer, including all tries and the waits between them;
    connecting before the first send, `connect_us`, is not included. `reasons` says why each try but the last failed;
    `reconnects` counts kept connections that were no longer usable. `trace` is the id of its trace, if the trace is
    kept.
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
    sent_ns: int = 0
    connect_us: int = 0
    said: str = ""
    trace: str = ""

    @property
    def refused(self) -> bool:
        """Return whether the server refused the token."""
        return self.status in REFUSED_STATUSES

    @property
    def redirected(self) -> bool:
        """Return whether the server redirects clients."""
        return 300 <= self.status < 400


class CommandTracer(Protocol):
    """Makes traces; see `loadgen.client.tracing`."""

    def send(self, item: Item, method: str, request: bytes, deliver: Callable[[bytes], Outcome]) -> Outcome:
        """Send a request within a trace."""


class RetryingClient(Generic[AnyItem]):
    """Sends requests one after another over one connection, each until it has a final answer or is given up.

    `stopping` ends the waits between tries: a request that waits then gets no further try.
    """

    def __init__(
        self,
        connection: ClientConnection,
        dialect: Dialect[AnyItem],
        policy: RetryPolicy,
        stopping: threading.Event,
        tracer: CommandTracer | None = None,
    ) -> None:
        self._connection = connection
        self._dialect = dialect
        self._policy = policy
        self._stopping = stopping
        self._tracer = tracer

    def send(self, item: AnyItem, longest_s: float = math.inf) -> Outcome:
        """Send an item of the workload; never raises for failures of the server or the network.

        An item with a time-out of its own (a DUMPLOG) gets at most `longest_s` seconds.
        """
        dialect = self._dialect
        request, timeout_s = dialect.encode(item), dialect.timeout_s(item)
        if timeout_s is not None:
            timeout_s = min(timeout_s, longest_s)
        if self._tracer is None:
            return self._deliver(request, item, timeout_s)
        method, _ = dialect.request_line(item)
        return self._tracer.send(item, method, request, lambda traced: self._deliver(traced, item, timeout_s))

    def read(self, request: bytes, timeout_s: float | None = None) -> Outcome:
        """Send a read that is not part of the workload, with its own time-out in seconds."""
        return self._deliver(request, None, timeout_s)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _deliver(self, request: bytes, item: AnyItem | None, timeout_s: float | None) -> Outcome:
        connection = self._connection
        reasons: list[str] = []
        reconnects = 0
        began_ns = start_ns = time.perf_counter_ns()
        sent_ms = connect_us = 0
        while True:
            response: Response | None = None
            try:
                reconnects += connection.prepare(timeout_s)
                if not sent_ms:
                    start_ns, sent_ms = time.perf_counter_ns(), time.time_ns() // 1_000_000
                    connect_us = (start_ns - began_ns) // 1000 if connection.opened_us else 0
                response = connection.exchange(request, timeout_s)
                verdict = self._dialect.judge(response, item)
                if verdict.desynchronised:
                    connection.close()
            except ExchangeError as error:
                again = not sent_ms or self._dialect.may_repeat(item)
                verdict = Verdict(final=False, again=again, code=error.reason, said=str(error))
            now_ns = time.perf_counter_ns()
            if not verdict.again or not self._wait(len(reasons), verdict, (now_ns - began_ns) / 1e9, timeout_s or 0.0):
                break
            reasons.append(verdict.code)
        received_ms = time.time_ns() // 1_000_000
        return Outcome(
            verdict.final,
            0 if response is None else response.status,
            verdict.code,
            b"" if response is None else response.body,
            len(reasons) + 1,
            tuple(reasons),
            reconnects,
            response is not None and _REPLAYED in response.lower and response.header(_REPLAYED) == b"true",
            sent_ms or received_ms,
            received_ms,
            (now_ns - start_ns) // 1000,
            start_ns,
            connect_us,
            verdict.said,
        )

    def _wait(self, retry: int, verdict: Verdict, elapsed_s: float, allowed_s: float) -> bool:
        """Wait before a retry; return False if there is none: too many, too late, or the run is stopping."""
        if retry >= self._policy.retries:
            return False
        wait_s = self._policy.wait_s(retry, verdict.retry_after_s)
        if elapsed_s + wait_s >= max(self._policy.give_up_s, allowed_s):
            return False
        return not self._stopping.wait(wait_s)


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body, or None."""
    try:
        text = body.decode().strip(_JSON_SPACE)
        value, end = _read_json(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and end == len(text) else None


def retry_after_s(response: Response) -> float:
    """Return the Retry-After in seconds, given in seconds or as a date; 0 if there is no usable one."""
    value = response.header(b"retry-after")
    if value is None:
        return 0.0
    text = value.decode("latin-1")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def redirection(response: Response) -> str:
    """Return in words where a response redirects to; empty if it does not."""
    location = response.header(b"location")
    if not 300 <= response.status < 400 or location is None:
        return ""
    return f"the server redirects to {location.decode('latin-1')}"
