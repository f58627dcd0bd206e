"""Made-up outcomes for tests of the statistics."""

import time

from loadgen.client.retry import Outcome


def outcome(
    *, latency_us: int = 1000, final: bool = True, status: int = 200, code: str = "ok", tries: int = 1
) -> Outcome:
    return Outcome(
        final,
        status,
        code,
        b"{}",
        tries,
        ("timeout",) * (tries - 1),
        0,
        False,
        0,
        0,
        latency_us,
        time.perf_counter_ns(),
    )
