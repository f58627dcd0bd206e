"""Made-up outcomes for tests of the statistics."""

import time

from loadgen.client.retry import Outcome


def outcome(
    *, latency_us: int = 1000, final: bool = True, status: int = 200, code: str = "ok", tries: int = 1
) -> Outcome:
    reasons, sent_ns = ("timeout",) * (tries - 1), time.perf_counter_ns()
    return Outcome(final, status, code, b"{}", tries, reasons, 0, False, 0, 0, latency_us, sent_ns)
