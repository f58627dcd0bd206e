"""The parts of this process, made once, on first use, and put together."""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib.audit.dumps import Dumps
from chalicelib.audit.places import Folder
from chalicelib.clock import now_ms
from chalicelib.quotes.cache import QuoteCache
from chalicelib.quotes.outages import Breaker
from chalicelib.quotes.patience import Patience
from chalicelib.quotes.shared import SharedQuotes
from chalicelib.quotes.sources import make_source
from chalicelib.settings import Settings, settings
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import Document
from chalicelib.store.due import DueAccounts
from chalicelib.store.recent import RecentRecords
from chalicelib.store.writers import Writer, make_writer
from chalicelib.sweep.sweeper import Limits, Sweeper
from chalicelib.trading import Trading
from chalicelib.transactions import TransactionNumbers
from chalicelib.tries import Turns


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the routes and the schedule need."""

    settings: Settings
    database: Database[Document]
    redis: Redis
    writer: Writer
    trading: Trading
    sweeper: Sweeper
    transactions: TransactionNumbers

    def close(self) -> None:
        """Finish the writes that have begun and close the connections."""
        self.writer.close()
        self.database.client.close()
        self.redis.close()


def connect_database(settings: Settings) -> Database[Document]:
    """Return the database; nothing is sent before its first use.

    Writes are confirmed once they are in the journals of a majority; what is read has been confirmed by a majority, so
    that no answer rests on what a failover could take back.
    """
    client: MongoClient[Document] = MongoClient(
        settings.mongo_uri,
        maxPoolSize=settings.mongo_pool_size,
        serverSelectionTimeoutMS=settings.mongo_timeout_ms,
        connectTimeoutMS=settings.mongo_timeout_ms,
        socketTimeoutMS=settings.mongo_timeout_ms,
        waitQueueTimeoutMS=settings.mongo_timeout_ms,
        retryWrites=True,
        retryReads=True,
        appname="day-trading",
    )
    return client.get_database(
        settings.mongo_database,
        write_concern=WriteConcern("majority", wtimeout=settings.mongo_timeout_ms, j=True),
        read_concern=ReadConcern("majority"),
    )


def connect_redis(settings: Settings) -> Redis:
    """Return the cache's client: one try within a short time-out, since a price can be had without it."""
    timeout_seconds = settings.redis_timeout_ms / 1000
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )


def connect_quotes(redis: Redis, settings: Settings) -> SharedQuotes:
    """Return the quotes; nothing is asked before their first use. Raises SettingError for an unusable source."""
    cache = QuoteCache(redis, now_ms, Breaker(settings.quote_cache_pause_ms / 1000))
    return SharedQuotes(cache, make_source(settings.quote_source, now_ms), Patience.of(settings))


def make_runtime(settings: Settings) -> Runtime:
    """Return the parts, put together; raises SettingError for a quote source that cannot be used."""
    database = connect_database(settings)
    redis = connect_redis(settings)
    writer = make_writer(database["accounts"], settings.group_commit)
    accounts = Accounts(database, settings.server_name, RecentRecords(settings.recent_accounts), writer)
    quotes = connect_quotes(redis, settings)
    trading = Trading(
        store=accounts,
        quotes=quotes,
        dumps=Dumps(database, Folder(Path(settings.dump_folder))),
        clock=now_ms,
        turns=Turns(),
        limit_ms=settings.command_timeout_ms,
    )
    sweeper = Sweeper(
        store=Accounts(database, settings.server_name, RecentRecords(0)),  # what it visits is not what is traded next
        due=DueAccounts(database),
        quotes=quotes,
        clock=now_ms,
        limits=Limits(
            settings.sweep_limit_ms, settings.sweep_quotes_at_once, settings.sweep_writes_at_once, settings.sweep_batch
        ),
    )
    return Runtime(settings, database, redis, writer, trading, sweeper, TransactionNumbers())


_making = Lock()
_made: list[Runtime] = []


def runtime() -> Runtime:
    """Return the parts of this process."""
    with _making:
        if not _made:
            _made.append(make_runtime(settings()))
        return _made[0]


def forget() -> None:
    """Close the connections of this process; the next call of `runtime` makes new ones."""
    with _making:
        while _made:
            _made.pop().close()
