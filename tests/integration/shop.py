"""The real parts on the real servers, with a quote and a clock that the test sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from pymongo.database import Database

from chalicelib.config.settings import Settings, read_settings
from chalicelib.connections import connect_database
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.journal import Entry
from chalicelib.domain.money import parse_cents
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.service.trading import Answer, Trading
from chalicelib.service.user_queue import UserQueues
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import Document
from chalicelib.store.recent import RecentRecords
from chalicelib.store.user_journal import UserJournal

SECRET = "a secret of the tests, 32 bytes or more"


def settings_for(mongo_uri: str, database: str, redis_url: str = "redis://127.0.0.1:1/0", **more: str) -> Settings:
    """Return settings for a database of the test."""
    return read_settings(
        {
            "MONGO_URI": mongo_uri,
            "MONGO_DATABASE": database,
            "REDIS_URL": redis_url,
            "QUOTE_SOURCE": "fixed:10.00",
            "AUTH_SECRET": SECRET,
            "DUMP_PLACE": "unused",
            **more,
        }
    )


@dataclass
class SetQuotes:
    """Quotes at a price the test sets, from the cache unless the test says otherwise."""

    price_cents: int = 1000
    cached: bool = True

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the quote; it never expires."""
        return QuoteAnswer(Quote(symbol, self.price_cents, user, 10**15, "key"), cached=self.cached)

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""
        return True


class NoDumps:
    """Writes no logs."""

    def write(self, entry: Entry, user: str, sequence: int, most_bytes: int | None = None) -> Mapping[str, Any]:
        """Return what a dump would add."""
        return {"location": "nowhere", "events": 0}


@dataclass
class Shop:
    """Executes commands given as text, on its own store."""

    settings: Settings
    recent: int = 100
    now_ms: int = 1_000_000_000_000
    quotes: SetQuotes = field(default_factory=SetQuotes)
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.database: Database[Document] = connect_database(self.settings)
        self.accounts = Accounts(self.database, "test", RecentRecords(self.recent))
        self.trading = Trading(
            self.accounts, self.quotes, NoDumps(), lambda: self.now_ms, UserQueues(), self.settings.command_timeout_ms
        )

    def does(
        self,
        name: str,
        symbol: str | None = None,
        amount: str | None = None,
        user: str = "jane",
        key: str | None = None,
        arrived_ms: int | None = None,
        **more: Any,
    ) -> Answer:
        """Execute a command; `more` are other fields of it."""
        fields = {"filename": "log.xml" if name == "DUMPLOG" else None} | more
        amount_cents = None if amount is None else parse_cents(amount)
        number = next(self.numbers)
        command = Command(CommandName(name), user, number, symbol, amount_cents, key=key, **fields)
        return self.trading.execute(command, arrived_ms)

    def entries(self, user: str = "jane") -> list[Entry]:
        """Return the user's journal as any process reads it, oldest first."""
        journal, record = UserJournal(self.database), Accounts(self.database, "looks", RecentRecords(0)).read(user)
        found = [] if record.version == 0 else list(journal.newest_first(user, record.version, down_to=1))
        return [one.entry for one in reversed(found)]

    def close(self) -> None:
        """Close the connections."""
        self.database.client.close()
