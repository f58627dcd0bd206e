"""Retention that archives old parts of journals during the faults, and a user whose journal it archives.

Retention counts in days and keeps entries whose keys are still remembered. So it runs with a clock that is almost a day
ahead, on the journal of a user whose commands have no keys.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from pymongo.errors import PyMongoError

from chalicelib.audit.retention import DAY_MS, Retention
from chalicelib.clock import now_ms
from chalicelib.connections import LOG_TIMEOUT_MS, connect_database
from chalicelib.runtime import make_place
from chalicelib.store.user_journal import PART_ENTRIES
from infra.faults.pressure import Pressure
from infra.local.background import BackgroundStack
from infra.local.part_settings import settings_with
from infra.local.stack import DUMPS

KEYLESS = "keyless"
"""The user whose journal is archived. An unanswered command without a key may have been executed, so its cash is
unknown."""

CENTS = 1
UNSETTLED_MS = 25_000
"""Longer than a command is tried (COMMAND_TIMEOUT_MS): until then its write may have to be found in the journal."""

_PAUSE_SECONDS = 2.0
_PACE_SECONDS = 0.05
_TRIES = 30
_LEAST_COMMANDS = 3 * PART_ENTRIES
"""The newest part stays in the database."""

log = logging.getLogger(__name__)


class Archiving:
    """Archives during a run; `entries` counts archived entries, `failed` the runs that a fault ended."""

    def __init__(self, stack: BackgroundStack) -> None:
        self._stack = stack
        self._trader = Pressure(stack.url, stack.operator_token)
        self.entries = 0
        self.failed = 0
        self._is_finished = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Trade and archive during the block, then archive the rest."""
        over = threading.Event()
        stop = self._trader.begin(f"/users/{KEYLESS}/add", {"amount": f"{CENTS / 100:.2f}"}, 1, _PACE_SECONDS)
        with self._retention(UNSETTLED_MS) as retention:
            thread = threading.Thread(target=self._repeat, args=(retention, over), name="archiving")
            thread.start()
            try:
                yield
                self._await_enough()
            finally:
                over.set()
                stop()
                self._trader.settle()
                thread.join()
        with self._retention(0) as retention:
            for _ in range(_TRIES):
                self._is_finished = self._archives(retention)
                if self._is_finished:
                    break
                time.sleep(_PAUSE_SECONDS)

    def wrong(self, cash_cents: int) -> str:
        """Return what is wrong with the archives or with the user's cash; empty if nothing is."""
        least, most = self._trader.statuses[200] * CENTS, self._trader.sent * CENTS
        if not self.entries or not self._is_finished:
            return (
                f"{self.entries} entries were archived, and the last run {'ended' if self._is_finished else 'failed'}"
            )
        if not least <= cash_cents <= most:
            return f"{KEYLESS} has {cash_cents} cents, of {most} that were sent and {least} acknowledged"
        return self._trader.wrong()

    def _await_enough(self) -> None:
        """In a short run, let the user trade until there is something to archive."""
        deadline = time.monotonic() + _TRIES * _PAUSE_SECONDS
        while self._trader.statuses[200] < _LEAST_COMMANDS and time.monotonic() < deadline:
            time.sleep(_PACE_SECONDS)

    def _repeat(self, retention: Retention, over: threading.Event) -> None:
        while not over.wait(_PAUSE_SECONDS):
            self._archives(retention)

    def _archives(self, retention: Retention) -> bool:
        try:
            self.entries += retention.run().entries
        except (PyMongoError, OSError) as error:
            log.info("retention: %s", error)  # the next run finishes what this one began
            self.failed += 1
            return False
        return True

    @contextlib.contextmanager
    def _retention(self, young_ms: int) -> Iterator[Retention]:
        settings = settings_with(
            MONGO_URI=self._stack.mongo_uri,
            MONGO_DATABASE=self._stack.mongo_database,
            DUMP_PLACE=str(self._stack.data / DUMPS),
            SERVER_NAME="retention",
        )
        database = connect_database(settings, LOG_TIMEOUT_MS)
        place = make_place(settings.dump_place, settings.dump_link_seconds)
        with contextlib.closing(database.client):
            yield Retention(database, place, lambda: now_ms() + DAY_MS - young_ms, days=1)
