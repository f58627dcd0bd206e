"""docs/performance.md with its plots, and the figures in README.md, made from a record and from nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from string import Template
from textwrap import fill
from typing import Any

from infra.bench.compare import spread
from infra.bench.plots import KNOWN_HERE, KNOWN_SIX_SERVERS, plot, plots, split
from infra.bench.record import Record, RecordError, figure
from infra.bench.sections import SECTIONS
from infra.bench.sections.functions import CORE_MB
from infra.bench.sizes import FULL
from infra.bench.verdicts import judge
from infra.local.stack import PROJECT
from loadgen.results.charts import number

PAGE = Path("docs/performance.md")
PLOTS = Path("docs/performance")
README = Path("README.md")
TEMPLATE = Path(__file__).with_name("performance.template.md")

BEGIN, END = "<!-- figures: made by `make bench` -->", "<!-- end of figures -->"

_CORES = (4, 8, 16)

_NOT_MEASURED = "This run did not measure it.\n"

_ALT: Mapping[str, str] = {
    "rates": "Commands per second of this system between floor and ceiling",
    "users": "Commands per second over the number of users",
    "latency": "p50 and p99 by command",
    "any-server": "Commands per second of one server, of several, and of one that keeps no account",
    "functions": "Time of a command by the bare driver and by containers",
    "sustained": "Commands per second by tenths of a long replay",
    "cost": "CPU time a command by process, and within the gateway",
    "memory": "Peak memory by process",
    "quotes": "Time to get a quote, warm and cold",
    "dump": "Events a second of a DUMPLOG",
    "growth-past": "Cost of a command over the account's past commands",
    "growth-accounts": "Cost of a command over the number of accounts",
    "durability": "Commands per second by write concern",
}


def write(record: Record, project: Path = PROJECT) -> Path:
    """Write the page, its plots and README's figures; raises RecordError for a record that is not whole."""
    if not record["complete"]:
        raise RecordError(f"the record is not of a whole run: {record['ended']}")
    folder = project / PLOTS
    folder.mkdir(parents=True, exist_ok=True)
    drawn = plots(record)
    for old in folder.glob("*.svg"):
        if old.stem not in drawn:
            old.unlink()
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    (project / PAGE).write_text(page(record), encoding="utf-8")
    readme = project / README
    readme.write_text(with_figures(readme.read_text(encoding="utf-8"), record), encoding="utf-8")
    return project / PAGE


def with_figures(readme: str, record: Record) -> str:
    """Return README.md with the figures of a record in their place; raises RecordError when it has none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RecordError(f"README.md has no place for figures: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{_sentence(record)}\n{END}{after}"


def _sentence(record: Record) -> str:
    users = record["settings"]["sizes"]["users"]
    machine = record["machine"]
    rate, p50 = figure(record, "replay", f"rate.{users}"), figure(record, "latency", "p50.all")
    floor = figure(record, "floor", "rate.single")
    parts = []
    if rate is not None:
        parts.append(f"{number(rate['median'])} commands a second of {users} users, each one durable and verified")
    if floor is not None:
        parts.append(f"where the bare driver with one update a command makes {number(floor['median'])}")
    if p50 is not None:
        parts.append(f"and {number(p50['median'])} ms at the median at half the top rate")
    said = ",\n".join(parts)
    return (
        f"On {machine['cores']} cores ({machine['cpu']}), with load generator, servers and databases all on them:\n"
        f"{said}.\n"
        "All figures, how they were measured, and how to measure again: [performance](docs/performance.md)."
    )


def page(record: Record) -> str:
    """Return the page of a record."""
    sizes = record["settings"]["sizes"]
    size = figure(record, "floor", "bytes")
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        about=_about(record),
        verdicts=_table(("demand", "found", "verdict"), [(one.demand, one.found, one.word) for one in judge(record)]),
        users=f"{sizes['users']:,}",
        commands=f"{sizes['commands']:,}",
        bytes="-" if size is None else number(size["median"]),
        known_six=KNOWN_SIX_SERVERS,
        known_here=KNOWN_HERE,
        rates=_shown(record, "rates", ("", "commands/s"), _rate_rows(record)),
        populations=_shown(record, "users", _POPULATION_HEAD, _population_rows(record)),
        half_rate=_cell(figure(record, "latency", "rate")),
        latency=_shown(record, "latency", ("command", "p50 ms", "p99 ms"), _latency_rows(record)),
        shared_users=f"{sizes.get('shared_users', FULL.shared_users):,}",
        any_server=_shown(record, "any-server", _ANY_SERVER_HEAD, _any_server_rows(record)),
        cores=_listed(_CORES_HEAD, _cores_rows(record)),
        function_commands=f"{sizes.get('function_commands', FULL.function_commands):,}",
        functions=_shown(record, "functions", _FUNCTIONS_HEAD, _function_rows(record)),
        cold=_listed(("", ""), _labelled_rows(record, "functions", "cold.")),
        memory_sizes=_listed(_MEMORY_SIZES_HEAD, _memory_size_rows(record)),
        sustained=_shown(record, "sustained", ("", ""), _all_rows(record, "sustained")),
        cost=_shown(record, "cost", ("", "us a command"), _cost_rows(record)),
        memory=_shown(record, "memory", ("MB", "at the end", "peak"), _memory_rows(record)),
        quotes=_shown(record, "quotes", ("", ""), _all_rows(record, "quotes")),
        pages=_listed(("", ""), _all_rows(record, "pages")),
        dump=_shown(record, "dump", ("", ""), _all_rows(record, "dump")),
        active=f"{min(sizes['active_users'], *sizes['systems']):,}",
        past=_shown(record, "growth-past", _PAST_HEAD, _past_rows(record)),
        accounts=_shown(record, "growth-accounts", _ACCOUNTS_HEAD, _accounts_rows(record)),
        large=_listed(("", ""), _all_rows(record, "large")),
        durability=_shown(record, "durability", _DURABILITY_HEAD, _durability_rows(record)),
        sections=fill(", ".join(section.name for section in SECTIONS), 120),
    )


_POPULATION_HEAD = ("users", "commands", "commands/s", "p50 ms", "p99 ms")
_PAST_HEAD = ("", "p50 ms", "p99 ms", "CPU of the gateway, us a command", "CPU of mongod, us a command")
_ACCOUNTS_HEAD = ("", "commands/s", *_PAST_HEAD[1:], "sweep ms")
_ANY_SERVER_HEAD = ("", "commands/s", "CPU of servers and databases, us a command", "load generator, us")
_CORES_HEAD = ("cores", "commands/s, estimated")
_FUNCTIONS_HEAD = ("", "ms a command", "CPU ms", "runtime client, CPU ms", "reads", "writes", "bytes")
_MEMORY_SIZES_HEAD = (
    "memory, CPU",
    "import, s",
    "first answer, s",
    "ms billed a command",
    "p99 ms",
    "never idle, ms billed",
    "GB-seconds a million commands",
)
_DURABILITY_HEAD = ("WRITE_CONCERN", "commands/s", "p50 ms", "p99 ms")

Rows = Iterator[Sequence[str]]


def _about(record: Record) -> str:
    machine, settings = record["machine"], record["settings"]
    began = datetime.fromisoformat(record["started_at"])
    changed = ", with changes that are not in it" if record["dirty"] else ""
    loads = ", ".join(f"{about['load_before']:g} to {about['load_after']:g}" for about in record["rounds"])
    found = [figure(record, "replay", f"others.{users}") for users, _ in settings["sizes"]["populations"]]
    others = [one["median"] for one in found if one is not None]
    busy = f"; other work of the machine took {max(others):.2f} cores during replays, at most" if others else ""
    rows = [
        ("when", f"{began:%Y-%m-%d %H:%M} UTC, {settings['rounds']} rounds in {record['seconds'] / 60:.1f} minutes"),
        ("commit", f"{record['commit'] or 'unknown'}{changed}"),
        ("machine", f"{machine['cores']} cores, {machine['cpu']}, {machine['memory_gb']} GB, {machine['system']}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())),
        ("command", "`make bench`" + (" with tiny sizes: figures of no worth" if settings["quick"] else "")),
        ("load average", f"{loads}, by round{busy}"),
        *_of_other_runs(record),
    ]
    return _table(("", ""), rows)


def _of_other_runs(record: Record) -> Iterator[tuple[str, str]]:
    """Yield which sections were measured later than the others, with their run."""
    for name, section in record["sections"].items():
        if (run := section.get("run")) is not None:
            began = datetime.fromisoformat(run["started_at"])
            changed = ", with changes that are not in it" if run["dirty"] else ""
            rounds = f"{len(run['rounds'])} round{'s' * (len(run['rounds']) > 1)}"
            yield (
                f"{name}, measured by itself",
                f"{began:%Y-%m-%d %H:%M} UTC, {rounds}, commit {run['commit']}{changed}",
            )


def _rate_rows(record: Record) -> Rows:
    users = record["settings"]["sizes"]["users"]
    for section, key, words in (
        ("replay", f"rate.{users}", f"this system, {users} users"),
        ("floor", "rate.single", "floor: one update a command"),
        ("floor", "rate.grouped", "floor, updates grouped"),
        ("ceiling", "rate.framework", "ceiling: a route that does nothing"),
        ("ceiling", "rate.http", "HTTP server alone"),
    ):
        if (found := figure(record, section, key)) is not None:
            yield words, _cell(found)


def _population_rows(record: Record) -> Rows:
    for users, commands in record["settings"]["sizes"]["populations"]:
        if figure(record, "replay", f"rate.{users}") is not None:
            cells = (_cell(figure(record, "replay", f"{name}.{users}")) for name in ("rate", "p50", "p99"))
            yield f"{users:,}", f"{commands:,}", *cells


def _latency_rows(record: Record) -> Rows:
    for name in _keys(record, "latency", "p50."):
        yield name, *(_cell(figure(record, "latency", f"{percentile}.{name}")) for percentile in ("p50", "p99"))


def _all_rows(record: Record, section: str) -> Rows:
    for one in _figures(record, section).values():
        yield one["label"], f"{_cell(one)} {one['unit']}"


def _labelled_rows(record: Record, section: str, prefix: str) -> Rows:
    for key in _keys(record, section, prefix):
        one = _figures(record, section)[f"{prefix}{key}"]
        yield one["label"], f"{_cell(one)} {one['unit']}"


def _any_server_rows(record: Record) -> Rows:
    for key in _keys(record, "any-server", "rate."):
        cells = (_cell(figure(record, "any-server", f"{name}.{key}")) for name in ("rate", "cpu", "loadgen"))
        yield _figures(record, "any-server")[f"rate.{key}"]["label"].removesuffix(": rate"), *cells


def _cores_rows(record: Record) -> Rows:
    """Yield what so many cores would make when they are as busy as these were, with no load generator on them."""
    found = [figure(record, "any-server", f"{name}.workers.2") for name in ("rate", "cpu", "loadgen")]
    if any(one is None for one in found):
        return
    rate, system_us, loadgen_us = (one["median"] for one in found if one is not None)
    busy = rate * (system_us + loadgen_us) / 1e6 / record["machine"]["cores"]
    for cores in _CORES:
        yield str(cores), f"{cores * busy * 1e6 / system_us:,.0f}"


def _function_rows(record: Record) -> Rows:
    for key in _keys(record, "functions", "wall."):
        names = ("wall", "cpu", "runtime", "reads", "writes", "wire")
        cells = (_cell(figure(record, "functions", f"{name}.{key}")) for name in names)
        yield _figures(record, "functions")[f"wall.{key}"]["label"].removesuffix(": a command"), *cells


def _memory_size_rows(record: Record) -> Rows:
    for memory_mb in (key.removesuffix(".billed") for key in _keys(record, "functions", "memory.")):
        billed = figure(record, "functions", f"memory.{memory_mb}.billed")
        if memory_mb.isdecimal() and billed is not None:
            names = ("import", "answer", "billed", "p99", "busy")
            cells = (_cell(figure(record, "functions", f"memory.{memory_mb}.{name}")) for name in names)
            share = f"{int(memory_mb):,} MB, {int(memory_mb) / CORE_MB:.2f}"
            yield share, *cells, f"{billed['median'] * int(memory_mb) * 1000 / 1024:,.0f}"


def _cost_rows(record: Record) -> Rows:
    for one in _figures(record, "cost").values():
        yield one["label"], _cell(one)
    for name, value in (split(record) or {}).items():
        yield f"in the gateway: {name}", number(value)


def _memory_rows(record: Record) -> Rows:
    for key in _keys(record, "memory", "peak."):
        resident, peak = (_figures(record, "memory")[f"{kind}.{key}"] for kind in ("resident", "peak"))
        yield peak["label"].removesuffix(": peak"), _cell(resident), _cell(peak)


def _past_rows(record: Record) -> Rows:
    for past in record["settings"]["sizes"]["pasts"]:
        yield from _growth_row(record, f"past.{past}", f"{past:,} past commands", ("p50", "p99", "gateway", "mongod"))


def _accounts_rows(record: Record) -> Rows:
    for count in record["settings"]["sizes"]["systems"]:
        names = ("rate", "p50", "p99", "gateway", "mongod", "sweep")
        yield from _growth_row(record, f"accounts.{count}", f"{count:,} accounts", names)


def _growth_row(record: Record, key: str, words: str, names: Sequence[str]) -> Rows:
    found = [figure(record, "growth", f"{key}.{name}") for name in names]
    if found[0] is not None:
        yield words, *map(_cell, found)


def _durability_rows(record: Record) -> Rows:
    for concern in _keys(record, "durability", "rate."):
        found = (figure(record, "durability", f"{name}.{concern}") for name in ("rate", "p50", "p99"))
        yield f"`{concern}`", *map(_cell, found)


def _figures(record: Record, section: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = record["sections"].get(section, {"figures": {}})["figures"]
    return found


def _keys(record: Record, section: str, prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in _figures(record, section) if key.startswith(prefix)]


def _shown(record: Record, name: str, head: Sequence[str], rows: Rows) -> str:
    """Return a plot and its table."""
    drawn = f"![{_ALT[name]}]({PLOTS.name}/{name}.svg)\n\n" if plot(record, name) is not None else ""
    return drawn + _listed(head, rows)


def _listed(head: Sequence[str], rows: Rows) -> str:
    found = list(rows)
    return _table(head, found) if found else _NOT_MEASURED


def _cell(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None else spread(found)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
