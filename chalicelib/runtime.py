"""The composition root: the parts of this process, made and wired up once, on first use."""

import logging
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError
from redis import Redis

from chalicelib import concurrency
from chalicelib.access.jwks import KeyRing, fetch_from
from chalicelib.access.rate_limit import RateLimit
from chalicelib.access.tokens import ProviderTokens, SecretTokens, TokenKind, Tokens
from chalicelib.audit.dumps import Dumps, HandOver
from chalicelib.audit.folder import Folder
from chalicelib.audit.function import starter
from chalicelib.audit.places import Place
from chalicelib.audit.process import write_apart
from chalicelib.audit.retention import Retention
from chalicelib.audit.s3 import Bucket
from chalicelib.circuit_breaker import CircuitBreaker
from chalicelib.clock import OFFSET_FILE, is_shifted, moment, monotonic_seconds, now_ms
from chalicelib.config import logins
from chalicelib.config.settings import (
    WRITE_CONCERNS,
    SettingError,
    Settings,
    read_settings,
    settings,
    with_secrets,
)
from chalicelib.connections import LOG_TIMEOUT_MS, connect_database, connect_redis
from chalicelib.domain.decide import decide
from chalicelib.domain.errors import LoginRefusedError, PermanentError, UnavailableError
from chalicelib.domain.limits import AccountLimits
from chalicelib.observe.commands import Observers
from chalicelib.observe.instruments import NO_INSTRUMENTS, Instruments
from chalicelib.observe.logs import CommandLog, set_up_logs
from chalicelib.quotes.cache import QuoteCache
from chalicelib.quotes.history import PriceHistory
from chalicelib.quotes.process_cache import ProcessQuoteCache
from chalicelib.quotes.questions import Audit, Questions
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from chalicelib.quotes.shared import SharedQuotes
from chalicelib.quotes.single_flight import SingleFlight
from chalicelib.quotes.sources import make_source
from chalicelib.service.health import HealthCheck
from chalicelib.service.late_answers import LateAnswers
from chalicelib.service.prices import Prices
from chalicelib.service.trading import Quotes, Trading
from chalicelib.service.transaction_numbers import TransactionNumbers
from chalicelib.service.trusted_clock import TrustedClock
from chalicelib.service.user_queue import UserQueues
from chalicelib.store.accounts import Accounts
from chalicelib.store.database_clock import database_ms
from chalicelib.store.documents import Document
from chalicelib.store.due import DueAccounts
from chalicelib.store.errors import StoreError
from chalicelib.store.grouping import make_reader, make_writer
from chalicelib.store.reads import AccountReads
from chalicelib.store.recent import RecentRecords
from chalicelib.store.registry import Registry
from chalicelib.store.writers import AccountWriter
from chalicelib.sweep.sweeper import Sweeper, SweepLimits

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""How long a starting server waits for the database to report its data version."""

S3 = "s3://"
TRACES_BY_OTLP = "otlp"
RENEWAL_SECONDS = 30.0
"""The least time between two reads of the secrets, however many forged tokens arrive."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts that routes and schedules use."""

    settings: Settings
    database: Database[Document]
    redis: Redis
    writer: AccountWriter
    accounts: Accounts
    shared_quotes: SharedQuotes
    trading: Trading
    logs: Database[Document]
    dumps: Dumps
    reads: AccountReads
    prices: Prices
    price_history: PriceHistory
    retention: Retention
    sweeper: Sweeper
    registry: Registry
    health: HealthCheck
    clock: TrustedClock
    transactions: TransactionNumbers
    tokens: Tokens
    rate_limit: RateLimit | None
    dump_rate_limit: RateLimit | None
    observers: Observers
    instruments: Instruments

    def finish_questions(self) -> None:
        """Wait until every open question to the quote source is audited or given up."""
        if not self.shared_quotes.finish():
            log.warning("questions to the quote source are still open: their answers will not be in the audit log")

    def close(self) -> None:
        """Finish open questions and writes in progress, and close the connections."""
        self.finish_questions()
        self.writer.close()
        self.database.client.close()
        self.logs.client.close()
        self.redis.close()
        self.instruments.close()


def connect_quotes(
    redis: Redis, settings: Settings, audit_late: Audit, instruments: Instruments = NO_INSTRUMENTS
) -> SharedQuotes:
    """Return the quotes; nothing is sent before their first use. Raises SettingError for an unusable source.

    `audit_late` records quotes that come too late to be used.
    """
    cache = QuoteCache(redis, settings.redis_namespace, moment, CircuitBreaker(settings.quote_cache_pause_ms / 1000))
    source = instruments.source(make_source(settings.quote_source, now_ms))
    questions = Questions(source, audit_late, moment, settings.quote_open_questions)
    single_flight = instruments.single_flight(SingleFlight())
    return SharedQuotes(instruments.cache(cache), questions, QuoteRetryPolicy.of(settings), single_flight=single_flight)


def cached_in_process(quotes: Quotes, settings: Settings) -> Quotes:
    """Return the quotes, cached in the process if the settings say so."""
    return ProcessQuoteCache(quotes, moment, settings.recent_quotes) if settings.recent_quotes else quotes


def make_tokens(settings: Settings) -> Tokens:
    """Return the token check, with each kind that is configured."""
    kinds: list[TokenKind] = []
    secrets = [secret for secret in (settings.auth_secret, settings.auth_secret_previous) if secret is not None]
    if secrets:
        kinds.append(SecretTokens(*secrets))
    if settings.auth_jwks_url is not None:
        assert settings.auth_issuer is not None
        assert settings.auth_audience is not None
        keys = KeyRing(fetch_from(settings.auth_jwks_url, settings.auth_timeout_ms / 1000))
        claims = (settings.auth_user_claim, settings.auth_role_claim)
        kinds.append(ProviderTokens(keys, settings.auth_issuer, settings.auth_audience, *claims))
    return Tokens(kinds, now_ms)


def make_rate_limit(redis: Redis, settings: Settings, commands: int, kind: str = "") -> RateLimit | None:
    """Return a limit of `commands` per user, or None if there is none."""
    if commands == 0:
        return None
    breaker = CircuitBreaker(settings.quote_cache_pause_ms / 1000)
    return RateLimit(redis, settings.redis_namespace, commands, settings.rate_limit_seconds, breaker, kind)


def make_instruments(settings: Settings) -> Instruments:
    """Return the instruments: none, unless traces are enabled."""
    if settings.otel_traces_exporter != TRACES_BY_OTLP:
        return NO_INSTRUMENTS
    from chalicelib.observe.tracing import make_tracing  # noqa: PLC0415 - it brings OpenTelemetry, which may not be there

    return make_tracing(settings.server_name)


def make_observers(settings: Settings, instruments: Instruments) -> Observers:
    """Return the observers of commands: the log, which in Lambda also makes the metrics, and the trace."""
    observers = Observers(*filter(None, [instruments.on_command]))
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    if function is not None or settings.log_level in {"DEBUG", "INFO"}:
        observers.add(CommandLog(sys.stdout, function, trace_id=instruments.trace_id))
    return observers


def make_place(setting: str, link_seconds: int, bucket_owner: str | None = None) -> Place:
    """Return where logs and archives are kept: a folder, or `s3://bucket/prefix` of an AWS account."""
    if not setting.startswith(S3):
        return Folder(Path(setting))
    bucket, _, prefix = setting.removeprefix(S3).partition("/")
    return Bucket(bucket, prefix.strip("/"), link_seconds, bucket_owner)


def make_hand_over(settings: Settings, instruments: Instruments) -> HandOver:
    """Return what continues long dumps: a Lambda function, or a process on this machine."""
    if settings.dump_function is None:
        return HandOver(lambda dump_id: write_apart(dump_id, instruments.carried()), None)
    return HandOver(starter(settings.dump_function), settings.dump_limit_ms)


def make_runtime(settings: Settings) -> Runtime:
    """Return the parts, wired up; raises SettingError for settings that cannot be used."""
    instruments = make_instruments(settings)
    database = connect_database(settings, instruments=instruments)
    clock = TrustedClock(partial(database_ms, database), settings.clock_tolerance_ms, now_ms)
    redis = connect_redis(settings)
    observers = make_observers(settings, instruments)
    grouping = (settings.group_commit, settings.mongo_timeout_ms / 1000, instruments, observers)
    writer = make_writer(database, *grouping)
    registry = Registry(database)
    reader = make_reader(database, *grouping)
    accounts = Accounts(
        database,
        settings.server_name,
        RecentRecords(settings.recent_accounts),
        writer,
        reader,
        registry,
    )
    store = instruments.store(accounts)
    queues, transactions = instruments.queues(UserQueues()), TransactionNumbers(registry.number)
    late = LateAnswers(store, clock, transactions, settings.command_timeout_ms)
    shared_quotes = connect_quotes(redis, settings, late.record, instruments)
    quotes = instruments.quotes(cached_in_process(shared_quotes, settings))
    logs = connect_database(settings, LOG_TIMEOUT_MS, instruments)
    place = make_place(settings.dump_place, settings.dump_link_seconds, settings.dump_bucket_owner)
    dumps = Dumps(logs, place, partial(database_ms, logs), make_hand_over(settings, instruments))
    trading = Trading(
        store=store,
        quotes=quotes,
        dumps=instruments.dumps(dumps),
        clock=clock,
        queues=queues,
        limit_ms=settings.command_timeout_ms,
        limits=AccountLimits(settings.max_orders, settings.max_triggers, settings.max_holdings),
        decide=instruments.decide(decide),
    )
    sweeper = Sweeper(
        # The accounts it visits are not the ones traded next.
        store=instruments.store(Accounts(database, settings.server_name, RecentRecords(0), registry=registry)),
        due=DueAccounts(database),
        quotes=quotes,
        clock=clock,
        limits=SweepLimits(
            settings.sweep_limit_ms, settings.sweep_quotes_at_once, settings.sweep_writes_at_once, settings.sweep_batch
        ),
    )
    return Runtime(
        settings=settings,
        database=database,
        redis=redis,
        writer=writer,
        accounts=accounts,
        shared_quotes=shared_quotes,
        trading=trading,
        logs=logs,
        dumps=dumps,
        reads=AccountReads(database, reader),
        prices=Prices(quotes, store, clock, transactions, settings.quote_limit_ms, settings.command_timeout_ms),
        price_history=PriceHistory(redis, settings.redis_namespace),
        retention=Retention(logs, place, clock, settings.archive_days),
        sweeper=instruments.sweeper(sweeper),
        registry=registry,
        health=HealthCheck(database, redis, registry, clock),
        clock=clock,
        transactions=transactions,
        tokens=make_tokens(settings),
        rate_limit=make_rate_limit(redis, settings, settings.rate_limit),
        dump_rate_limit=make_rate_limit(redis, settings, settings.dump_rate_limit, "dump"),
        observers=observers,
        instruments=instruments,
    )


_making = concurrency.Lock()
_made: list[Runtime] = []


def runtime() -> Runtime:
    """Return the parts of this process."""
    renew_secrets()
    if not _made:
        with _making:
            if not _made:
                _made.append(make_runtime(settings()))
    return _made[0]


_next_renewal_seconds = 0.0


def renew_secrets() -> bool:
    """Read the secrets again if a login was refused; return whether they have changed and new parts are in use.

    Only in Lambda, where a process serves one request at a time: nobody else uses the parts that are closed.
    """
    global _next_renewal_seconds  # noqa: PLW0603  # like the parts, one of the process
    if not logins.refused.is_set() or not {"AWS_LAMBDA_FUNCTION_NAME", "SECRET_IDS"} <= os.environ.keys():
        return False
    with _making:
        if not _made or monotonic_seconds() < _next_renewal_seconds:
            return False
        _next_renewal_seconds = monotonic_seconds() + RENEWAL_SECONDS
        logins.refused.clear()
        try:
            fresh = read_settings(with_secrets(os.environ))
            if fresh == _made[0].settings:
                return False
            newer = make_runtime(fresh)
        except SettingError as error:
            log.error("a login was refused, and the secrets are of no use: %s", error)  # noqa: TRY400  # no secret is shown
            return False
        settings.cache_clear()
        older, _made[0] = _made[0], newer
    log.warning("a login was refused; the secrets have changed and are used as they are now")
    older.close()
    return True


def start() -> None:
    """Check the settings, set up the log and make the parts, before anything is served; raises SettingError."""
    set_up_logs(settings().log_level)
    if is_shifted():
        log.warning("%s is set: this process takes its time from a test", OFFSET_FILE)
    if settings().write_concern != WRITE_CONCERNS[0]:
        log.warning("WRITE_CONCERN=%s: a crash or a failover can lose answered commands", settings().write_concern)
    parts = runtime()
    if parts.instruments.trace_id is not None:
        set_up_logs(settings().log_level, trace_id=parts.instruments.trace_id)


def check_data() -> None:
    """Check that this build supports the data version; a long-running server does so before it listens.

    Raises UnknownDataVersionError. If the database does not answer, the server starts all the same; the first request
    then checks, as in Lambda.
    """
    try:
        with pymongo.timeout(CHECK_SECONDS):
            runtime().registry.check()
    except (StoreError, PermanentError, LoginRefusedError) as error:
        log.warning("the data version will be checked on first use: %s", error)


def prepare() -> concurrency.Thread:
    """Create the missing collections and indexes on a thread; return the thread.

    A long-running server calls this at start. On first use, as in Lambda, the first commands would wait for it, and the
    first DUMPLOG twice as long as for its log. Whatever fails here is done on first use.
    """
    thread = concurrency.Thread(target=_make_indexes, args=(runtime(),), name="indexes", daemon=True)
    thread.start()
    return thread


def _make_indexes(parts: Runtime) -> None:
    try:
        parts.accounts.make_indexes()
        parts.dumps.make_indexes()
    except (StoreError, PyMongoError, PermanentError, UnavailableError) as error:
        log.warning("the indexes will be created on first use: %s", error)


def finish_questions() -> None:
    """Before this process ends, wait until open questions to the quote source are audited and spans are sent."""
    for parts in _made:
        parts.finish_questions()
        parts.instruments.close()


def forget() -> None:
    """Close the connections of this process; the next call of `runtime` makes new ones."""
    with _making:
        while _made:
            _made.pop().close()
