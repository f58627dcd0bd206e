"""The demands on a run, and whether it meets them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.bench.record import figure
from infra.bench.sizes import FEW, FULL
from loadgen.results.tables import print_whole

LEAST_RATE = 1_800
MOST_P50_MS = 10
MOST_CHANGE = 0.25
LEAST_OF_FLOOR = 1.2
LEAST_OF_FEW_USERS = 0.75
LEAST_OF_FEW_TRIGGERS, LEAST_OF_FEW_ORDERS = 0.8, 0.5
MOST_OF_PAGES = 10

_RATIOS = (
    ("any-server", "two workers make {} or more of the rate of one", "rate.workers.2", "rate.workers.1", 0.7),
    (
        "any-server",
        "two workers balanced by request make {} or more of balanced by user",
        "rate.balance.request",
        "rate.workers.2",
        0.7,
    ),
    (
        "any-server",
        "a server that keeps no account {} or more of one that does",
        "rate.forgetful",
        "rate.workers.1",
        0.6,
    ),
)
"""Section, demand, the figures to divide, and the least ratio."""

_OF_FUNCTIONS = (
    ("wall", 1.3, "a command takes {} or less of the time of the bare driver's read and write"),
    ("cpu", 2.0, "it takes {} or less of the bare driver's CPU"),
)
"""Figure, the most of the bare driver's that may come out, demand."""

_MOST_OPERATIONS, _MOST_WIRE_BYTES = 1.05, 2_048


@dataclass(frozen=True, slots=True)
class DemandVerdict:
    """One demand; `passed` is None if the run did not measure its figures."""

    demand: str
    found: str
    passed: bool | None

    @property
    def word(self) -> str:
        """Return the verdict in a word."""
        return {True: "holds", False: "does not hold", None: "not measured"}[self.passed]


def judge(record: Mapping[str, Any]) -> list[DemandVerdict]:
    """Return the verdicts on a run, by the medians of its rounds."""
    return list(_judge(record))


def _judge(record: Mapping[str, Any]) -> Iterator[DemandVerdict]:
    sizes = record["settings"]["sizes"]
    users = sizes["users"]
    rate = _median(record, "replay", f"rate.{users}")
    demand = f"the replay of {users} users runs at {LEAST_RATE:,} commands/s or more"
    yield _verdict(demand, rate, lambda found: (f"{found:,.0f}/s", found >= LEAST_RATE))
    floor = _median(record, "floor", "rate.single")
    ratio = rate / floor if rate is not None and floor else None
    demand = f"and at {LEAST_OF_FLOOR} or more of the floor's rate, one update a command, in the same run"
    yield _verdict(demand, ratio, lambda found: (f"{found:.2f} of {floor:,.0f}/s", found >= LEAST_OF_FLOOR))
    p50 = _median(record, "latency", "p50.all")
    demand = f"p50 is under {MOST_P50_MS} ms at half the top rate"
    yield _verdict(demand, p50, lambda found: (f"{found:.2f} ms", found < MOST_P50_MS))
    rates = [_median(record, "replay", f"rate.{population}") for population, _ in sizes["populations"]]
    known = [one for one in rates if one is not None]
    change = 1 - min(known) / max(known) if len(known) == len(rates) else None
    few, many = (choose(population for population, _ in sizes["populations"]) for choose in (min, max))
    demand = f"from {few:,} to {many:,} users the rate changes by less than {MOST_CHANGE:.0%}"
    yield _verdict(demand, change, lambda found: (f"{found:.1%}", found < MOST_CHANGE))
    demand = f"{few:,} users make {LEAST_OF_FEW_USERS} or more of the rate of {users:,}"
    yield _least(demand, _ratio(record, "replay", f"rate.{few}", f"rate.{users}"), LEAST_OF_FEW_USERS)
    for section, demand, key, of, least in _RATIOS:
        yield _least(demand.format(least), _ratio(record, section, key, of), least)
    yield from _judge_large(record)
    share = _median(record, "pages", "share")
    demand = f"{sizes['active_users']:,} open pages take less than {MOST_OF_PAGES} % of the machine"
    yield _verdict(demand, share, lambda found: (f"{found:.1f} %", found < MOST_OF_PAGES))
    yield from _judge_functions(record, max(sizes.get("containers", [1])))


def _judge_large(record: Mapping[str, Any]) -> Iterator[DemandVerdict]:
    sizes = record["settings"]["sizes"]
    for kind, doing, count, least in (
        ("triggers", "setting one of", sizes.get("large_triggers", FULL.large_triggers), LEAST_OF_FEW_TRIGGERS),
        ("orders", "buying beside", sizes.get("large_orders", FULL.large_orders), LEAST_OF_FEW_ORDERS),
    ):
        demand = f"{doing} {count:,} {kind} runs at {least} or more of the rate with {FEW}"
        yield _least(demand, _ratio(record, "large", f"{kind}.{count}", f"{kind}.{FEW}"), least)


def _judge_functions(record: Mapping[str, Any], count: int) -> Iterator[DemandVerdict]:
    """Judge commands in so many containers, each of which gets any command."""
    containers = f"{count} containers"
    for key, most, demand in _OF_FUNCTIONS:
        for driver, where in ((f"driver.{count}", f"in {count} processes"), ("driver", "in one that is always warm")):
            ratio = _ratio(record, "functions", f"{key}.{count}", f"{key}.{driver}")
            yield _most(f"in {containers} {demand.format(most)} {where}", ratio, most)
    for name in ("reads", "writes"):
        found = _median(record, "functions", f"{name}.{count}")
        yield _most(f"in {containers} it takes {_MOST_OPERATIONS} {name} or less", found, _MOST_OPERATIONS)
    for suffix, where in (("", ""), (".zlib", ", with `compressors=zlib`")):
        found = _median(record, "functions", f"wire.{count}{suffix}")
        demand = f"in {containers} it takes {_MOST_WIRE_BYTES:,} bytes or less to and from MongoDB{where}"
        yield _most(demand, found, _MOST_WIRE_BYTES)


def _least(demand: str, value: float | None, least: float) -> DemandVerdict:
    return _verdict(demand, value, lambda found: (f"{found:.2f}", found >= least))


def _most(demand: str, value: float | None, most: float) -> DemandVerdict:
    return _verdict(demand, value, lambda found: (f"{found:,.0f}" if most > 100 else f"{found:.2f}", found <= most))


def _ratio(record: Mapping[str, Any], section: str, key: str, of: str) -> float | None:
    value, whole = (_median(record, section, one) for one in (key, of))
    return value / whole if value is not None and whole else None


def _verdict(demand: str, value: float | None, judged: Any) -> DemandVerdict:
    return DemandVerdict(demand, "-", None) if value is None else DemandVerdict(demand, *judged(value))


def _median(record: Mapping[str, Any], section: str, key: str) -> float | None:
    found = figure(record, section, key)
    return None if found is None else float(found["median"])


def print_verdicts(verdicts: Sequence[DemandVerdict], console: Console) -> None:
    """Print the verdicts as a table."""
    table = Table(title="What must hold, by the medians of the rounds")
    for column in ("demand", "found", "verdict"):
        table.add_column(column)
    for one in verdicts:
        style = {True: "green", False: "red", None: "dim"}[one.passed]
        table.add_row(one.demand, one.found, one.word, style=style)
    print_whole(console, table)
