"""Whether a command costs more with a long history or with many accounts.

Servers keep no accounts in the process here, so every command also reads its account: the most expensive case.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from chalicelib.runtime import make_runtime
from chalicelib.store.indexes import ACCOUNT_INDEXES
from infra.audit.journals import make_journals, user_name
from infra.bench.accounts import make_accounts
from infra.bench.context import Bench
from infra.bench.figures import LESS, MORE, Measured
from infra.bench.processes import BenchFailedError
from infra.bench.replays import FORGETFUL, Replayed, bench_stack, replay_on, write_workload
from infra.bench.sections.base import Plain
from infra.local.background import BackgroundStack
from infra.local.part_settings import settings_with
from loadgen.workload.files import Command
from loadgen.workload.generate import generate

_PACE_PER_SECOND = 1
"""The rate at which a user with a long history gave its commands."""

_CLEARING_SWEEPS = 5
_WARMING_PAST = 10


@dataclass(frozen=True)
class Growth(Plain):
    """Commands of users with a short and with a long history, and in small and in large systems."""

    name: str = "growth"
    measures: str = "the cost of a command by the past of its account, and by the accounts of the system"
    seconds: float = 30.0

    def set_up(self, bench: Bench) -> None:
        """Create the systems, each in its own folder; the smallest also has the users with a history."""
        for count in bench.sizes.systems:
            bench.say(f"a system with {count:,} accounts")
            with bench_stack(_folder(bench, count)) as stack, MongoClient[dict[str, Any]](stack.mongo_uri) as client:
                database = client[stack.mongo_database]
                make_accounts(database, count)
                if count == min(bench.sizes.systems):
                    for place, past in enumerate((*bench.sizes.pasts, _WARMING_PAST)):
                        make_journals(database, 1, past, per_second=_PACE_PER_SECOND, first=count + place)
                database["accounts"].create_indexes(ACCOUNT_INDEXES)
                client.admin.command("fsync")  # so that it is not written during the measurement

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Replay on each of the systems."""
        found: list[Measured] = []
        for count in bench.sizes.systems:
            with bench_stack(_folder(bench, count), environment=FORGETFUL) as stack:
                if count == min(bench.sizes.systems):
                    found += _of_pasts(bench, stack, count)
                found += _of_system(bench, stack, count)
        return found


def _of_pasts(bench: Bench, stack: BackgroundStack, first: int) -> Iterator[Measured]:
    bench.say("one more user, to warm the servers")
    _replay(bench, stack, [user_name(first + len(bench.sizes.pasts))], bench.sizes.past_commands)
    for place, past in enumerate(bench.sizes.pasts):
        bench.say(f"a user with {past:,} past commands")
        found = _replay(bench, stack, [user_name(first + place)], bench.sizes.past_commands)
        yield from _figures(f"past.{past}", f"{past:,} past commands", found)


def _of_system(bench: Bench, stack: BackgroundStack, count: int) -> Iterator[Measured]:
    sweep_ms = _sweep_ms(bench, stack)
    active = min(bench.sizes.active_users, count)
    bench.say(f"{active:,} users among {count:,} accounts")
    users = [user_name(number * (count // active)) for number in range(active)]
    found = _replay(bench, stack, users, bench.sizes.system_commands)
    words = f"{count:,} accounts"
    yield Measured(f"accounts.{count}.rate", f"{words}: rate", found.rate, "/s", MORE)
    yield from _figures(f"accounts.{count}", words, found)
    yield Measured(f"accounts.{count}.sweep", f"{words}: a sweep with nothing due", sweep_ms, "ms", LESS)


def _figures(key: str, words: str, found: Replayed) -> Iterator[Measured]:
    yield Measured(f"{key}.p50", f"{words}: p50", found.latency_ms["p50"], "ms", LESS)
    yield Measured(f"{key}.p99", f"{words}: p99", found.latency_ms["p99"], "ms", LESS)
    for part in ("gateway", "mongod"):
        yield Measured(f"{key}.{part}", f"{words}: CPU of {part}", found.cpu_us[part], "us", LESS)


def _replay(bench: Bench, stack: BackgroundStack, users: Sequence[str], commands: int) -> Replayed:
    """Replay commands of these users, others each round; everything except the long audit log is verified."""
    workload = bench.folder / "growth.txt"
    write_workload(workload, _commands(users, commands, bench))
    return replay_on(stack, bench.folder, workload, more=("--no-log",))


def _commands(users: Sequence[str], commands: int, bench: Bench) -> Iterator[Command]:
    """Yield generated commands under the names of existing users."""
    names: dict[str, str] = {}
    free = iter(users)
    size = max(commands, len(users) + 1)
    for command in generate(len(users), size, bench.sizes.symbols, bench.sizes.seed + bench.round):
        if command.user is None:
            continue
        if command.user not in names:
            names[command.user] = next(free)
        yield command._replace(user=names[command.user])


def _sweep_ms(bench: Bench, stack: BackgroundStack) -> float:
    """Return how long a sweep takes that finds nothing to do, after one that does what replays left behind."""
    bench.say("a sweep with nothing due")
    settings = settings_with(MONGO_URI=stack.mongo_uri, MONGO_DATABASE=stack.mongo_database, REDIS_URL=stack.redis_url)
    runtime = make_runtime(settings)
    try:
        for _ in range(_CLEARING_SWEEPS):
            if not runtime.sweeper.sweep().due:
                break
        took = []
        for _ in range(bench.sizes.sweeps):
            began = time.perf_counter()
            report = runtime.sweeper.sweep()
            took.append((time.perf_counter() - began) * 1000)
            if report.due:
                raise BenchFailedError(f"a sweep that should have had nothing to do found {report.due}")
    finally:
        runtime.close()
    return statistics.median(took)


def _folder(bench: Bench, count: int) -> Path:
    return bench.folder / f"system-{count}"
