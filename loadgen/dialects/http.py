"""Arbitrary HTTP requests: how each is sent, when it may be repeated, and when its response is as expected."""

from loadgen.client.dialect import Verdict
from loadgen.client.encoding import RequestWriter, Target
from loadgen.client.response import Response
from loadgen.client.retry import RETRY_STATUSES, redirection, retry_after_s
from loadgen.workload.http_lines import HttpCall

_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that are idempotent by RFC 9110."""


class Http:
    """Requests sent as they are. One with a `key` has the run's id and its number in that header."""

    def __init__(self, writer: RequestWriter, target: Target, run_id: str) -> None:
        self._writer = writer
        self._target = target
        self._run_id = run_id

    def encode(self, item: HttpCall) -> bytes:
        """Return the request."""
        headers = item.headers
        if item.key is not None:
            headers = (*headers, (item.key, f"{self._run_id}-{item.transaction}"))
        return self._writer.request(item.method, item.path, headers, item.body)

    def request_line(self, item: HttpCall) -> tuple[str, str]:
        """Return method and path."""
        return item.method, self._target.prefix + item.path

    def timeout_s(self, item: HttpCall) -> float | None:  # noqa: ARG002 (the same for all)
        """Return None: every request has the run's time-out."""
        return None

    def may_repeat(self, item: HttpCall | None) -> bool:
        """Return whether a request may be sent again although it may have been executed."""
        return item is None or item.key is not None or item.method in _SAFE_TO_REPEAT

    def judge(self, response: Response, item: HttpCall | None) -> Verdict:
        """Return the meaning of a response: a status that the line expects is final, else any below 500."""
        status = response.status
        expected = item.expect if item is not None else frozenset()
        if status in expected or (not expected and 200 <= status < 300):
            return Verdict(final=True, again=False, code="ok")
        code = f"http_{status}"
        if status in RETRY_STATUSES and self.may_repeat(item):
            return Verdict(final=False, again=True, code=code, retry_after_s=retry_after_s(response))
        if expected:
            wanted = " or ".join(map(str, sorted(expected)))
            return Verdict(final=False, again=False, code=code, said=f"status {status}, expected {wanted}")
        return Verdict(final=status < 500, again=False, code=code, said=redirection(response))
