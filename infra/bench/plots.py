"""The plots of a record, by file name; what the run did not measure is omitted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra.bench.record import Record, figure
from infra.bench.replays import LOADGEN
from infra.bench.sections.cost import PARTS
from loadgen.results import charts
from loadgen.results.charts import Bar, Curve, Range, Spread, number

KNOWN_SIX_SERVERS, KNOWN_HERE = 206, 34
"""Commands per second that the best known system of this kind claims for six servers, and what it did on a machine with
two cores like this one. Neither was measured in this run: they show the order of magnitude."""


def plots(record: Record) -> dict[str, str]:
    """Return the plots of a record by name, as SVG."""
    drawn = {name: plot(record, name) for name in _DRAWING}
    return {name: svg for name, svg in drawn.items() if svg is not None}


def plot(record: Record, name: str) -> str | None:
    """Return one plot, or None if the run did not measure its figures."""
    return _DRAWING[name](record)


def split(record: Record) -> dict[str, float] | None:
    """Return the gateway's CPU time per command by purpose, in microseconds; None without the figures.

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
        Bar("best known system, six servers*", "other", _exactly(KNOWN_SIX_SERVERS)),
        Bar("the same on two such cores*", "other", _exactly(KNOWN_HERE)),
        *_bars(record, wanted),
    ]
    return charts.bars(rows, "/s").as_file() if len(rows) > 2 else None


def _users(record: Record) -> str | None:
    points = _points(record, "replay", "rate.{}", [users for users, _ in record["settings"]["sizes"]["populations"]])
    if len(points) < 2:
        return None
    floor = _median(record, "floor", "rate.single")
    levels = [] if floor is None else [("s2", floor)]
    shown = [("replay, verified", "s1"), *(("floor: one update a command", style) for style, _ in levels)]
    curve = Curve("replay, verified", "s1", points)
    return charts.by_place([curve], "commands/s", "users", levels).as_file(shown)


def _latency(record: Record) -> str | None:
    rows = []
    for name in [key.removeprefix("p50.") for key in _figures(record, "latency") if key.startswith("p50.")]:
        values = [_median(record, "latency", f"{percentile}.{name}") for percentile in ("p50", "p99")]
        found = [value for value in values if value is not None]
        rows.append(Range(name, found, f"{name}: {' to '.join(map(number, found))} ms"))
    return charts.ranges(rows, "ms").as_file([("p50", "s1"), ("p99", "s2")]) if rows else None


def _any_server(record: Record) -> str | None:
    return _bars_with(record, "any-server", "rate.", "/s")


def _functions(record: Record) -> str | None:
    return _bars_with(record, "functions", "wall.", "ms")


def _sustained(record: Record) -> str | None:
    return _bars_with(record, "sustained", "rate.", "/s")


def _durability(record: Record) -> str | None:
    keys = [key for key in _figures(record, "durability") if key.startswith("rate.")]
    return _drawn(_bars(record, [("durability", key, key.removeprefix("rate."), "s1") for key in keys]), "/s")


def _cost(record: Record) -> str | None:
    rows = _bars(record, [("cost", f"cpu.{part}", part, "s1") for part in PARTS])
    inside = [
        Bar(f"in the gateway: {name}", "s2", _exactly(max(0.0, value))) for name, value in (split(record) or {}).items()
    ]
    return _drawn([*rows, *inside] if rows else [], "us")


def _memory(record: Record) -> str | None:
    rows = [
        Bar(found["label"].replace(": peak", ""), "s3" if LOADGEN in key else "s1", _spread(found))
        for key, found in _figures(record, "memory").items()
        if key.startswith("peak.")
    ]
    return _drawn(rows, "MB")


def _quotes(record: Record) -> str | None:
    return _bars_of(record, "quotes", "us")


def _dump(record: Record) -> str | None:
    return _drawn(_bars(record, [("dump", "events", "DUMPLOG of all users", "s1")]), "events/s")


def _past(record: Record) -> str | None:
    places = record["settings"]["sizes"]["pasts"]
    p50 = [
        (place, Spread(*(1000 * ms for ms in found)))
        for place, found in _points(record, "growth", "past.{}.p50", places)
    ]
    curves = [*_cpu_curves(record, "past.{}", places), Curve("p50 of a command", "s1", p50)]
    return _drawn_curves(curves, "past commands of the account") if len(p50) > 1 else None


def _accounts(record: Record) -> str | None:
    curves = _cpu_curves(record, "accounts.{}", record["settings"]["sizes"]["systems"])
    return _drawn_curves(curves, "accounts in the system") if len(curves[0].points) > 1 else None


def _cpu_curves(record: Record, key: str, places: Sequence[int]) -> list[Curve]:
    return [
        Curve(f"CPU of {part}", style, _points(record, "growth", f"{key}.{part}", places))
        for part, style in (("gateway", "s3"), ("mongod", "s2"))
    ]


def _drawn_curves(curves: Sequence[Curve], across: str) -> str:
    return charts.by_place(curves, "us a command", across).as_file([(one.name, one.style) for one in curves])


def _points(record: Record, section: str, key: str, places: Sequence[int]) -> list[tuple[float, Spread]]:
    found = [(place, figure(record, section, key.format(place))) for place in places]
    return [(place, _spread(one)) for place, one in found if one is not None]


def _bars_of(record: Record, section: str, unit: str) -> str | None:
    found = _figures(record, section).values()
    return _drawn([Bar(one["label"].replace(": rate", ""), "s1", _spread(one)) for one in found], unit)


def _bars_with(record: Record, section: str, prefix: str, unit: str) -> str | None:
    found = [one for key, one in _figures(record, section).items() if key.startswith(prefix)]
    return _drawn([Bar(one["label"].rpartition(": ")[0], "s1", _spread(one)) for one in found], unit)


def _bars(record: Record, wanted: Sequence[tuple[str, str, str, str]]) -> list[Bar]:
    found = [(name, style, figure(record, section, key)) for section, key, name, style in wanted]
    return [Bar(name, style, _spread(one)) for name, style, one in found if one is not None]


def _drawn(rows: Sequence[Bar], unit: str) -> str | None:
    return charts.bars(rows, unit).as_file() if rows else None


def _spread(found: Mapping[str, Any]) -> Spread:
    return Spread(found["min"], found["median"], found["max"])


def _exactly(value: float) -> Spread:
    return Spread(value, value, value)


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
    "any-server": _any_server,
    "functions": _functions,
    "sustained": _sustained,
    "cost": _cost,
    "memory": _memory,
    "quotes": _quotes,
    "dump": _dump,
    "growth-past": _past,
    "growth-accounts": _accounts,
    "durability": _durability,
}
