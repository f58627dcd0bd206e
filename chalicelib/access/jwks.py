"""The public keys of an identity provider, cached, so that tokens cannot make the server fetch them often."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import jwt

from chalicelib import concurrency
from chalicelib.access.errors import AuthUnavailableError
from chalicelib.clock import monotonic_seconds

log = logging.getLogger(__name__)

LIFETIME_SECONDS = 300.0
"""After this the keys are fetched again: a key that the provider has withdrawn is then no longer accepted."""

PAUSE_SECONDS = 10.0
"""The least time between two fetches, successful or not, however many tokens have unknown keys."""

LAST_RESORT_SECONDS = 3600.0
"""How long the last known keys are used if the provider does not answer."""

Fetch = Callable[[], Sequence[jwt.PyJWK]]


class KeyRing:
    """The keys of a provider; thread-safe.

    A token with an unknown key makes one caller fetch the keys while callers with other unknown keys wait. Callers with
    a known key never wait.
    """

    def __init__(self, fetch: Fetch, monotonic: Callable[[], float] = monotonic_seconds) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = -math.inf
        self._next_fetch_at = -math.inf

    def find(self, kid: str) -> jwt.PyJWK | None:
        """Return the key with that id, or None; raises AuthUnavailableError if the provider does not answer."""
        key, age = self._keys.get(kid), self._age_seconds()
        if key is not None and age < LIFETIME_SECONDS:
            return key
        # A caller that knows the key need not wait for a fetch.
        may_go_on = kid in self._keys and self._age_seconds() < LAST_RESORT_SECONDS
        if self._lock.acquire(blocking=not may_go_on):
            try:
                if kid not in self._keys or self._age_seconds() >= LIFETIME_SECONDS:
                    self._refresh()
            finally:
                self._lock.release()
        if self._age_seconds() >= LAST_RESORT_SECONDS:
            wait = max(1, math.ceil(self._next_fetch_at - self._monotonic()))
            raise AuthUnavailableError("the identity provider does not answer", wait)
        return self._keys.get(kid)

    def _age_seconds(self) -> float:
        return self._monotonic() - self._fetched_at

    def _refresh(self) -> None:
        if self._monotonic() < self._next_fetch_at:
            return
        try:
            keys = {key.key_id: key for key in self._fetch() if key.key_id is not None}
        except (jwt.PyJWTError, OSError, ValueError, RecursionError) as error:
            log.warning("the keys of the identity provider could not be fetched: %s", error)
        else:
            self._keys, self._fetched_at = keys, self._monotonic()
        self._next_fetch_at = self._monotonic() + PAUSE_SECONDS


def fetch_from(url: str, timeout_seconds: float) -> Fetch:
    """Return a function that fetches the signing keys from a URL: no redirects, one try, all of it within the time."""
    get = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=timeout_seconds).get_signing_keys
    pool = concurrency.ThreadPoolExecutor(1, "keys")

    def fetch() -> Sequence[jwt.PyJWK]:
        answer = pool.submit(get)  # its own time-out is for each read: an answer that trickles in would never end
        try:
            return answer.result(timeout_seconds)
        except TimeoutError:
            answer.cancel()  # it waits behind one that still trickles
            raise TimeoutError(f"no whole answer within {timeout_seconds:g} s") from None

    return fetch
