"""Plots as SVG files that stand alone, light and dark: bars, stacks, curves and spans, with the spread of figures."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from loadgen.results.charts import Scale, fitting, linear, logarithmic, number

Figure = Mapping[str, Any]

WIDTH = 760
_NAMES, _VALUES, _ROW = 270, 140, 30
_LEFT, _RIGHT, _TOP, _BOTTOM, _TALL = 64, 20, 14, 44, 280
_CHARACTER = 7.3
"""How wide a character is, at most, on average."""

_STYLE = """
:root { --ink: #16202c; --soft: #5b6776; --line: #dfe4ea; --paper: #ffffff;
  --s1: #2f6fde; --s2: #12908e; --s3: #c77700; --s4: #b3306e; --s5: #8d99a8; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e6ebf1; --soft: #9aa7b5; --line: #2c3744; --paper: #10151c;
  --s1: #6ea2ff; --s2: #3fc3bf; --s3: #f0a53c; --s4: #f07bb0; --s5: #6b7786; } }
.paper { fill: var(--paper); }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--soft); }
text.name { fill: var(--ink); } text.value { fill: var(--ink); font-weight: 600; } text.inside { fill: #fff; }
.grid { stroke: var(--line); } .whisker { stroke: var(--ink); stroke-width: 1.5; }
.line { fill: none; stroke-width: 2; } .mark { stroke-dasharray: 5 4; stroke-width: 1.5; }
.range { stroke: var(--line); stroke-width: 7; stroke-linecap: round; }
.dot { stroke: var(--paper); stroke-width: 1.5; }
"""
_STYLES = "".join(
    f".{name} {{ fill: var(--{name}); }} .line.{name}, .mark.{name} {{ stroke: var(--{name}); fill: none; }} "
    for name in ("s1", "s2", "s3", "s4", "s5")
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A named figure; `style` is its colour, s1 to s5 (s5 is for what was not measured in the run)."""

    name: str
    figure: Figure
    style: str = "s1"


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line through figures at places."""

    name: str
    style: str
    points: Sequence[tuple[float, Figure]]


def exactly(value: float) -> Figure:
    """Return a figure without a spread."""
    return {"min": value, "median": value, "max": value}


def bars(rows: Sequence[Bar], unit: str) -> str:
    """Return horizontal bars with the spread of each."""
    scale = linear(max(row.figure["max"] for row in rows))
    inner = WIDTH - _NAMES - _VALUES
    height = _ROW * len(rows) + 40
    drawn = [*_ruler(scale, unit, _NAMES, inner, height)]
    for index, row in enumerate(rows):
        y = 6 + _ROW * index
        low, middle, high = (inner * scale.place(row.figure[name]) for name in ("min", "median", "max"))
        drawn.append(_name(row.name, y + 17))
        drawn.append(f'<rect class="{row.style}" x="{_NAMES}" y="{y + 4}" width="{max(1.0, middle):.1f}" height="18"/>')
        if high - low >= 1:
            drawn += _whisker(_NAMES + low, _NAMES + high, y + 13)
        said = f"{number(row.figure['median'])} {unit}"
        place = _NAMES + max(middle, high) + 8
        drawn.append(f'<text class="value" x="{place:.1f}" y="{y + 18}">{escape(said)}</text>')
    return _svg(drawn, height)


def stacks(rows: Sequence[tuple[str, Sequence[Bar]]], unit: str) -> str:
    """Return horizontal bars made of parts, each part named in or under its bar."""
    scale = linear(max(sum(part.figure["median"] for part in parts) for _, parts in rows))
    inner, left = WIDTH - 90 - _VALUES + 40, 90
    row_height = 62
    height = row_height * len(rows) + 40
    drawn = [*_ruler(scale, unit, left, inner, height)]
    for index, (name, parts) in enumerate(rows):
        y, place = 6 + row_height * index, float(left)
        drawn.append(f'<text class="name" x="{left - 10}" y="{y + 22}" text-anchor="end">{escape(name)}</text>')
        end = left - 4.0
        for part in parts:
            value = part.figure["median"]
            width = inner * scale.place(value)
            drawn.append(
                f'<rect class="{part.style}" x="{place:.1f}" y="{y + 4}" width="{max(0.0, width - 1):.1f}" height="28">'
                f"<title>{escape(f'{part.name}: {number(value)} {unit}')}</title></rect>"
            )
            said = f"{part.name} {number(value)}"
            at = max(place, end + 4)
            drawn.append(f'<circle class="{part.style}" cx="{at + 4:.1f}" cy="{y + 43}" r="4"/>')
            drawn.append(f'<text x="{at + 12:.1f}" y="{y + 47}">{escape(said)}</text>')
            end = at + 14 + _CHARACTER * len(said)
            place += width
        total = sum(part.figure["median"] for part in parts)
        drawn.append(f'<text class="value" x="{place + 8:.1f}" y="{y + 23}">{number(total)} {escape(unit)}</text>')
    return _svg(drawn, height)


def curves(lines: Sequence[Curve], unit: str, across: str, marks: Sequence[tuple[str, str, float]] = ()) -> str:
    """Return figures over places on a logarithmic axis from 0 up; `marks` are (name, style, height) across all."""
    values = [figure["max"] for line in lines for _, figure in line.points]
    scale = linear(max([*values, *(height for _, _, height in marks)]))
    places = sorted({place for line in lines for place, _ in line.points})
    axis = logarithmic(places[0], places[-1])
    ends = axis.place(places[0]), axis.place(places[-1])
    inner, tall = WIDTH - _LEFT - _RIGHT - 40, _TALL - _TOP - _BOTTOM - 22

    def x(place: float) -> float:
        return _LEFT + 20 + inner * (axis.place(place) - ends[0]) / max(1e-9, ends[1] - ends[0])

    def y(value: float) -> float:
        return _TOP + 22 + tall * (1 - scale.place(value))

    drawn = [*_legend([(line.name, line.style) for line in lines] + [(name, style) for name, style, _ in marks])]
    for tick in scale.ticks:
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        drawn.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    drawn.append(f'<text x="{WIDTH - _RIGHT}" y="{_TOP}" text-anchor="end">{escape(unit)}</text>')
    drawn += _place_names(places, x, _TALL - 24)
    drawn.append(f'<text x="{_LEFT + 20 + inner / 2:.1f}" y="{_TALL - 6}" text-anchor="middle">{escape(across)}</text>')
    for _, style, height in marks:
        drawn.append(
            f'<line class="mark {style}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(height):.1f}" y2="{y(height):.1f}"/>'
        )
    for line in lines:
        path = " ".join(f"{x(place):.1f},{y(figure['median']):.1f}" for place, figure in line.points)
        drawn.append(f'<polyline class="line {line.style}" points="{path}"/>')
        for place, figure in line.points:
            top, bottom = y(figure["max"]), y(figure["min"])
            drawn.append(
                f'<line class="whisker" x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
            )
            drawn.append(f'<circle class="{line.style} dot" cx="{x(place):.1f}" cy="{y(figure["median"]):.1f}" r="5"/>')
    return _svg(drawn, _TALL)


def spans(rows: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], unit: str) -> str:
    """Return for each name its values, such as percentiles, as dots on a line; `names` says what they are."""
    scale = fitting([value for _, values in rows for value in values])
    left, height, row_height = 180, 24 * len(rows) + 62, 24
    inner = WIDTH - left - 40
    drawn = [
        *_legend([(name, f"s{place}") for place, name in enumerate(names, 1)]),
        *_ruler(scale, unit, left, inner, height, 24),
    ]
    for index, (name, values) in enumerate(rows):
        y = 38 + row_height * index
        dots = [left + inner * scale.place(value) for value in values]
        drawn.append(f'<text class="name" x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        drawn.append(f'<line class="range" x1="{dots[0]:.1f}" x2="{dots[-1]:.1f}" y1="{y}" y2="{y}"/>')
        for place, dot in enumerate(dots, 1):
            drawn.append(f'<circle class="s{place} dot" cx="{dot:.1f}" cy="{y}" r="5"/>')
    return _svg(drawn, height)


def _ruler(scale: Scale, unit: str, left: float, inner: float, height: int, top: int = 4) -> Iterator[str]:
    """Yield a horizontal axis: its grid, its figures, its unit."""
    for tick in scale.ticks:
        x = left + inner * scale.place(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{height - 28}"/>'
        said = f"{number(tick)} {unit}" if tick == scale.ticks[-1] else number(tick)
        yield f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{escape(said)}</text>'


def _name(name: str, y: float) -> str:
    return f'<text class="name" x="{_NAMES - 10}" y="{y}" text-anchor="end">{escape(name)}</text>'


def _whisker(low: float, high: float, y: float) -> Iterator[str]:
    yield f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
    for x in (low, high):
        yield f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + 4}"/>'


def _legend(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    x = float(_LEFT)
    for name, style in entries:
        yield f'<circle class="{style}" cx="{x:.1f}" cy="{_TOP - 4}" r="5"/>'
        yield f'<text x="{x + 10:.1f}" y="{_TOP}">{escape(name)}</text>'
        x += 34 + _CHARACTER * len(name)


def _place_names(places: Sequence[float], x: Callable[[float], float], y: float) -> Iterator[str]:
    """Yield the places under the axis, from the last to the first, without those that would stand on another."""
    free = math.inf
    for place in reversed(places):
        said = number(place)
        half = _CHARACTER * len(said) / 2
        if x(place) + half < free:
            yield f'<text x="{x(place):.1f}" y="{y}" text-anchor="middle">{said}</text>'
            free = x(place) - half - 6


def _svg(drawn: Sequence[str], height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><style>{_STYLE}{_STYLES}</style><rect class="paper" width="{WIDTH}" height="{height}"/>'
        + "\n".join(drawn)
        + "</svg>\n"
    )
