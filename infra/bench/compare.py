"""Compares two records: the ratio of each figure, and whether it exceeds the spread between rounds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.bench.figures import LESS, MORE
from loadgen.results.charts import number
from loadgen.results.tables import print_whole

WITHIN, BETTER, WORSE, DIFFERENT = "", "better", "worse", "different"
_LEAST_ROUNDS = 2
_STYLES = {WITHIN: None, BETTER: "green", WORSE: "bold red", DIFFERENT: "yellow"}


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of both runs. `ratio` is the new median over the old; `mark` is set if the spreads do not overlap."""

    section: str
    label: str
    unit: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    ratio: float | None
    mark: str


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[ComparedFigure]:
    """Return the figures that both records have."""
    return list(_lines(old, new))


def _lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[ComparedFigure]:
    for name, section in new["sections"].items():
        before = old["sections"].get(name, {"figures": {}})["figures"]
        for key, figure in section["figures"].items():
            if key in before:
                one = before[key]
                ratio = figure["median"] / one["median"] if one["median"] else None
                yield ComparedFigure(name, figure["label"], figure["unit"], one, figure, ratio, _mark(one, figure))


def _mark(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if min(len(old["rounds"]), len(new["rounds"])) < _LEAST_ROUNDS:
        return WITHIN  # the spread is not known
    if new["min"] <= old["max"] and old["min"] <= new["max"]:
        return WITHIN
    is_more = new["min"] > old["max"]
    return {MORE: (WORSE, BETTER), LESS: (BETTER, WORSE)}.get(new["better"], (DIFFERENT, DIFFERENT))[is_more]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return in words what the runs do not share and their figures depend on."""
    few = [name for name, run in (("old", old), ("new", new)) if run["settings"]["rounds"] < _LEAST_ROUNDS]
    pairs = [
        (f"{kind} {name}", old[kind].get(name), value)
        for kind in ("machine", "versions")
        for name, value in new[kind].items()
    ]
    pairs += [
        (name.replace("_", " "), old["settings"]["sizes"].get(name), value)
        for name, value in new["settings"]["sizes"].items()
    ]
    said = [f"{name}: {one} and {other}" for name, one, other in pairs if one != other]
    return said + [f"the {name} one has one round, so nothing is marked" for name in few]


def print_comparison(lines: Sequence[ComparedFigure], notes: Sequence[str], console: Console) -> None:
    """Print a comparison."""
    table = Table(title="Ratio: new by old, of the medians; marked where the spreads (min to max) do not meet")
    for column in ("section", "figure"):
        table.add_column(column)
    for column in ("old", "new", "ratio"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for line in lines:
        ratio = "-" if line.ratio is None else f"{line.ratio:.3f}"
        cells = [f"{spread(figure)} {line.unit}" for figure in (line.old, line.new)]
        table.add_row(line.section, line.label, *cells, ratio, line.mark, style=_STYLES[line.mark])
    print_whole(console, table)
    marked = [line.mark for line in lines]
    counts = ", ".join(f"{marked.count(mark)} {mark}" for mark in (BETTER, WORSE, DIFFERENT))
    console.print(f"{len(lines)} figures, outside the spread: {counts}")
    if notes:
        console.print("The runs are not alike. " + "; ".join(notes), style="yellow", markup=False, soft_wrap=True)


def spread(figure: Mapping[str, Any]) -> str:
    """Return a figure's median with its spread."""
    if figure["min"] == figure["max"]:
        return number(figure["median"])
    return f"{number(figure['median'])} ({number(figure['min'])} to {number(figure['max'])})"
