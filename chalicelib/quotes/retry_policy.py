"""How long a quote is tried for, and the pauses between tries."""

import random
from dataclasses import dataclass

from chalicelib.config.settings import Settings


@dataclass(frozen=True, slots=True)
class QuoteRetryPolicy:
    """The bounds on getting one quote, in milliseconds; docs/quotes.md says how to choose them.

    After `try_ms` without an answer another question is asked; `limit_ms` bounds all tries, including waiting for other
    processes. The pause after the n-th failed try is drawn from 0 to `first_pause_ms` x 2^(n-1), at most
    `longest_pause_ms` (exponential backoff with full jitter). A lock outlives the try it covers by `lock_spare_ms`. A
    process that waits for a lock polls every `poll_ms`.
    """

    try_ms: int = 30
    limit_ms: int = 5_000
    first_pause_ms: int = 10
    longest_pause_ms: int = 250
    lock_spare_ms: int = 500
    poll_ms: int = 50

    @classmethod
    def of(cls, settings: Settings) -> "QuoteRetryPolicy":
        """Return the policy that the settings give."""
        return cls(
            try_ms=settings.quote_try_ms,
            limit_ms=settings.quote_limit_ms,
            first_pause_ms=settings.quote_first_pause_ms,
            longest_pause_ms=settings.quote_longest_pause_ms,
            lock_spare_ms=settings.quote_lock_spare_ms,
            poll_ms=settings.quote_poll_ms,
        )

    @property
    def lock_ms(self) -> int:
        """The lifetime of a lock. Its owner renews it before each try, so it covers one try and the pause after it."""
        return self.try_ms + self.longest_pause_ms + self.lock_spare_ms

    def pause_seconds(self, failed_tries: int) -> float:
        """Return the pause after so many failed tries, 1 or more."""
        longest_ms = min(self.longest_pause_ms, self.first_pause_ms * 2 ** min(failed_tries - 1, 30))
        return random.uniform(0, longest_ms) / 1000  # noqa: S311  # jitter, no secret

    def poll_seconds(self) -> float:
        """Return the pause before the next poll, with jitter so that waiting processes do not poll in step."""
        return random.uniform(self.poll_ms / 2, self.poll_ms) / 1000  # noqa: S311  # jitter, no secret
