"""The plots of a record, by file name; what the run did not measure is left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from infra.bench import plots
from infra.bench.plots import Bar, Curve, Figure, exactly
from infra.bench.record import Record, figure
from infra.bench.replays import LOADGEN
from infra.bench.sections.cost import PARTS

KNOWN_SIX_SERVERS, KNOWN_HERE = 206, 34
"""Commands a second that the best known system of this family claims for six servers, and what it did on a machine of
two cores like this one. Neither was measured in the run: they are here to compare orders of magnitude."""

_COLOURS = ("s3", "s1", "s2", "s4")


def pictures(record: Record) -> dict[str, str]:
    """Return the plots of a record by name, as SVG."""
    drawn = {name: picture(record, name) for name in _DRAWING}
    return {name: svg for name, svg in drawn.items() if svg is not None}


def picture(record: Record, name: str) -> str | None:
    """Return one plot, None when the run did not measure what it shows."""
    return _DRAWING[name](record)


def split(record: Record) -> dict[str, float] | None:
    """Return the gateway's CPU time a command by what it is spent on, in microseconds; None without the figures.

    Nothing is measured inside the process: the parts are differences between servers that do more and more.
    """
    gateway, framework, http = (
        _median(record, *where)
        for where in (("cost", "cpu.gateway"), ("ceiling", "cpu.framework"), ("ceiling", "cpu.http"))
    )
    driver = _median(record, "floor", "driver.grouped")
    if gateway is None or framework is None or http is None or driver is None:
        return None
    app = gateway - framework - driver
    return {"HTTP server": http, "adapter and Chalice": framework - http, "writes, driver": driver, "app": app}


def _rates(record: Record) -> str | None:
    users = record["settings"]["sizes"]["users"]
    wanted = [
        ("replay", f"rate.{users}", f"this system, {users} users", "s1"),
        ("floor", "rate.single", "floor: one update a command", "s2"),
        ("floor", "rate.grouped", "floor, updates grouped", "s2"),
        ("ceiling", "rate.framework", "ceiling: a route that does nothing", "s3"),
    ]
    rows = [
        Bar("best known system, six servers*", exactly(KNOWN_SIX_SERVERS), "s5"),
        Bar("the same on two such cores*", exactly(KNOWN_HERE), "s5"),
        *_bars(record, wanted),
    ]
    return plots.bars(rows, "/s") if len(rows) > 2 else None


def _users(record: Record) -> str | None:
    points = _points(record, "replay", "rate.{}", [users for users, _ in record["settings"]["sizes"]["populations"]])
    if len(points) < 2:
        return None
    floor = _median(record, "floor", "rate.single")
    marks = [] if floor is None else [("floor: one update a command", "s2", floor)]
    return plots.curves([Curve("replay, verified", "s1", points)], "commands/s", "users", marks)


def _latency(record: Record) -> str | None:
    names = [key.removeprefix("p50.") for key in _figures(record, "latency") if key.startswith("p50.")]
    rows = []
    for name in names:
        found = [_median(record, "latency", f"{percentile}.{name}") for percentile in ("p50", "p99")]
        rows.append((name, [value for value in found if value is not None]))
    return plots.spans(rows, ("p50", "p99"), "ms") if rows else None


def _workers(record: Record) -> str | None:
    return _bars_of(record, "workers", "/s")


def _durability(record: Record) -> str | None:
    keys = [key for key in _figures(record, "durability") if key.startswith("rate.")]
    rows = list(_bars(record, [("durability", key, key.removeprefix("rate."), "s1") for key in keys]))
    return plots.bars(rows, "/s") if rows else None


def _cost(record: Record) -> str | None:
    keys = [("cost", f"cpu.{part}", part, style) for part, style in zip(PARTS, _COLOURS, strict=True)]
    parts = list(_bars(record, keys))
    if not parts:
        return None
    rows: list[tuple[str, Sequence[Bar]]] = [("processes", parts)]
    found = split(record)
    if found is not None:
        inside = zip(found.items(), ("s3", "s2", "s4", "s1"), strict=True)
        rows.append(("gateway", [Bar(name, exactly(max(0.0, value)), style) for (name, value), style in inside]))
    return plots.stacks(rows, "us")


def _memory(record: Record) -> str | None:
    rows = [
        Bar(found["label"].replace(": peak", ""), found, "s3" if LOADGEN in key else "s1")
        for key, found in _figures(record, "memory").items()
        if key.startswith("peak.")
    ]
    return plots.bars(rows, "MB") if rows else None


def _quotes(record: Record) -> str | None:
    return _bars_of(record, "quotes", "us")


def _dump(record: Record) -> str | None:
    rows = list(_bars(record, [("dump", "events", "DUMPLOG of all users", "s1")]))
    return plots.bars(rows, "events/s") if rows else None


def _past(record: Record) -> str | None:
    places = record["settings"]["sizes"]["pasts"]
    lines = _cpu_curves(record, "past.{}", places)
    p50 = [(place, _times(found, 1000)) for place, found in _points(record, "growth", "past.{}.p50", places)]
    lines.append(Curve("p50 of a command", "s1", p50))
    return plots.curves(lines, "us a command", "past commands of the account") if len(p50) > 1 else None


def _accounts(record: Record) -> str | None:
    lines = _cpu_curves(record, "accounts.{}", record["settings"]["sizes"]["systems"])
    if len(lines[0].points) < 2:
        return None
    return plots.curves(lines, "us a command", "accounts in the system")


def _cpu_curves(record: Record, key: str, places: Sequence[int]) -> list[Curve]:
    return [
        Curve(f"CPU of {part}", style, _points(record, "growth", f"{key}.{part}", places))
        for part, style in (("gateway", "s3"), ("mongod", "s2"))
    ]


def _times(found: Figure, factor: float) -> Figure:
    return {name: found[name] * factor for name in ("min", "median", "max")}


def _points(record: Record, section: str, key: str, places: Sequence[int]) -> list[tuple[float, Figure]]:
    found = [(place, figure(record, section, key.format(place))) for place in places]
    return [(place, one) for place, one in found if one is not None]


def _bars_of(record: Record, section: str, unit: str) -> str | None:
    rows = [Bar(one["label"].replace(": rate", ""), one) for one in _figures(record, section).values()]
    return plots.bars(rows, unit) if rows else None


def _bars(record: Record, wanted: Sequence[tuple[str, str, str, str]]) -> Iterator[Bar]:
    for section, key, name, style in wanted:
        found = figure(record, section, key)
        if found is not None:
            yield Bar(name, found, style)


def _figures(record: Record, section: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = record["sections"].get(section, {"figures": {}})["figures"]
    return found


def _median(record: Record, section: str, key: str) -> float | None:
    found = figure(record, section, key)
    return None if found is None else float(found["median"])


_DRAWING: Mapping[str, Callable[[Record], str | None]] = {
    "rates": _rates,
    "users": _users,
    "latency": _latency,
    "workers": _workers,
    "cost": _cost,
    "memory": _memory,
    "quotes": _quotes,
    "dump": _dump,
    "growth-past": _past,
    "growth-accounts": _accounts,
    "durability": _durability,
}
