"""The clients of MongoDB and Redis, made from the settings."""

from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib.config.settings import SettingError, Settings, without_credentials
from chalicelib.observe.instruments import NO_INSTRUMENTS, Instruments
from chalicelib.store.documents import Document

LOG_TIMEOUT_MS = 600_000
"""How long MongoDB may take to sort a slice of the audit log."""


def connect_database(
    settings: Settings, answer_ms: int | None = None, instruments: Instruments = NO_INSTRUMENTS
) -> Database[Document]:
    """Return the database; nothing is sent before its first use.

    Reads go to the primary, whatever the address says: a secondary may lag, and a command whose key is looked up there
    could be executed twice. Writes are confirmed according to WRITE_CONCERN, by default once they are in the journals
    of a majority; reads return only what was confirmed likewise, so no answer rests on what a failover could undo. A
    command retries its own reads and writes after network errors (`chalicelib.service.account_write`); the driver
    retries other operations once, unless the address says `retryWrites=false`, as it must for DocumentDB. An operation
    may take `answer_ms`, by default MONGO_TIMEOUT_MS. Raises SettingError for an invalid address.
    """
    options: dict[str, Any] = {
        "maxPoolSize": settings.mongo_pool_size,
        "serverSelectionTimeoutMS": settings.mongo_timeout_ms,
        "connectTimeoutMS": settings.mongo_timeout_ms,
        "socketTimeoutMS": settings.mongo_timeout_ms if answer_ms is None else answer_ms,
        "waitQueueTimeoutMS": settings.mongo_timeout_ms,
        "appname": application_name(settings.server_name),
        "connect": answer_ms is None,  # a client that is seldom used connects at first use
        "event_listeners": instruments.database_listeners,
    }
    try:
        client: MongoClient[Document] = MongoClient(settings.mongo_uri, **options)
    except (PyMongoError, ValueError) as error:
        raise SettingError("MONGO_URI", without_credentials(settings.mongo_uri), "a MongoDB address") from error
    write_concern, read_concern = _concerns(settings)
    return client.get_database(
        settings.mongo_database,
        read_preference=ReadPreference.PRIMARY,
        write_concern=write_concern,
        read_concern=read_concern,
    )


def application_name(server_name: str) -> str:
    """Return the name under which MongoDB knows a server; it takes at most 128 bytes."""
    return f"day-trading {server_name}".encode()[:128].decode(errors="ignore")


def _concerns(settings: Settings) -> tuple[WriteConcern, ReadConcern]:
    match settings.write_concern:
        case "majority-journaled":
            return WriteConcern("majority", wtimeout=settings.mongo_timeout_ms, j=True), ReadConcern("majority")
        case "majority":
            # Without a word on journals: with `j=False` a lone member is asked to flush by nobody, and each write
            # waits for the next tick of the journal, 100 ms.
            return WriteConcern("majority", wtimeout=settings.mongo_timeout_ms), ReadConcern("majority")
        case _:
            # Reading what a majority has would show accounts as they were before the writes that were just confirmed.
            return WriteConcern(1), ReadConcern("local")


def connect_redis(settings: Settings) -> Redis:
    """Return the cache's client. It tries once, with a short time-out, since a price can be had without it.

    Raises SettingError for an invalid address.
    """
    timeout_seconds = settings.redis_timeout_ms / 1000
    try:
        pool = BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=settings.redis_pool_size,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        return Redis.from_pool(pool)
    except ValueError as error:
        raise SettingError("REDIS_URL", without_credentials(settings.redis_url), "a Redis address") from error
