"""Small charts as SVG: values over time, by percentile or by position, and bars and ranges by name.

On a page each chart is drawn in three widths, of which the page shows the one that fits, so text has the same size on a
phone, on a screen and on paper. As a file a chart includes its style. Colours are classes, `s1` to `s6` (charts.css).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTHS = (("narrow", 330), ("middle", 680), ("wide", 1120))
FILE_WIDTH = 760
STYLE = Path(__file__).with_name("charts.css")

_STEPS = 40
_RIGHT, _TOP, _BOTTOM, _ROW, _LEGEND = 14, 10, 26, 26, 24
_VALUE = 140
"""Space for a value with its unit behind a bar."""

_CHARACTER = 7.5
"""The greatest average width of a character."""


class Series(NamedTuple):
    """A value for each interval; None is a gap."""

    name: str
    style: str
    values: Sequence[float | None]


class Spread(NamedTuple):
    """A value and its range."""

    low: float
    middle: float
    high: float


class Curve(NamedTuple):
    """A line through values at positions."""

    name: str
    style: str
    points: Sequence[tuple[float, Spread]]


class Bar(NamedTuple):
    """A named value."""

    name: str
    style: str
    figure: Spread


class Range(NamedTuple):
    """Ascending values with a name, such as percentiles, and a note."""

    name: str
    values: Sequence[float]
    said: str


class Scale(NamedTuple):
    """An axis: maps a value to 0 at its beginning up to 1 at its end, and has ticks."""

    place: Callable[[float], float]
    ticks: Sequence[float]


class Chart(NamedTuple):
    """A chart that can be drawn in any width."""

    height: int
    draw: Callable[[int], Iterable[str]]

    def on_page(self) -> str:
        """Return the chart for a page that includes the style."""
        return "".join(
            f'<svg class="{name}" viewBox="0 0 {width} {self.height}" role="img" '
            f'aria-hidden="{"false" if name == "wide" else "true"}">{"".join(self.draw(width))}</svg>'
            for name, width in WIDTHS
        )

    def as_file(self, entries: Sequence[tuple[str, str]] = ()) -> str:
        """Return the chart as a stand-alone file, light and dark, with a legend of (name, style)."""
        above = _LEGEND if entries else 0
        width, height = FILE_WIDTH, self.height + above
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img">\n<style>\n{STYLE.read_text(encoding="utf-8")}</style>\n'
            f'<rect class="paper" width="{width}" height="{height}"/>\n'
            + "".join(f"{mark}\n" for mark in _drawn_legend(entries))
            + f'<g transform="translate(0 {above})">\n{chr(10).join(self.draw(width))}\n</g>\n</svg>\n'
        )


class _Frame(NamedTuple):
    """The edges of the plot area."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, part: float) -> float:
        return self.left + (self.right - self.left) * part

    def y(self, part: float) -> float:
        return self.bottom - (self.bottom - self.top) * part


def number(value: float) -> str:
    """Return a number with three significant digits."""
    if value == 0:
        return "0"
    if abs(value) >= 1e9:
        return f"{value / 1e9:.3g}G"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def clock(seconds: float) -> str:
    """Return a time since the start."""
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def linear(top: float) -> Scale:
    """Return an axis from 0 to a round number of at least `top`."""
    step = _round_step(max(top, 1e-9) / 4)
    count = max(1, math.ceil(max(top, 1e-9) / step - 1e-9))
    return Scale(lambda value: value / (step * count), [step * index for index in range(count + 1)])


def logarithmic(low: float, top: float) -> Scale:
    """Return an axis over whole powers of ten that includes `low` and `top`, both above 0."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(top) - 1e-9)
    last = max(last, first + 1)

    def place(value: float) -> float:
        return (math.log10(max(value, 10.0**first)) - first) / (last - first)

    return Scale(place, [10.0**power for power in range(first, last + 1)])


def fitting(values: Sequence[float]) -> Scale:
    """Return an axis for latencies: logarithmic if they differ by more than a factor of 30."""
    above = [value for value in values if value > 0]
    if above and max(above) > 30 * min(above):
        return logarithmic(min(above), max(above))
    return linear(max(above, default=1.0))


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Return the legend of (name, style) for a page."""
    marks = "".join(f'<span class="key"><i class="{style}"></i>{escape(name)}</span>' for name, style in entries)
    return f'<p class="legend">{marks}</p>'


def over_time(series: Sequence[Series], seconds: float, scale: Scale, unit: str, *, bars: bool = False) -> Chart:
    """Return a chart of values by interval, each `seconds` long, as lines or as stacked bars."""
    height, count = 220, max(len(one.values) for one in series)

    def draw(width: int) -> Iterator[str]:
        frame = _frame(scale, width, height)
        slot = (frame.right - frame.left) / count
        yield from _levels(frame, scale)
        yield from _columns(frame, _clock_ticks(count * seconds, frame))
        if bars:
            yield from _stacked(series, frame, scale, slot)
        for one in () if bars else series:
            heights = [None if value is None else frame.y(scale.place(value)) for value in one.values]
            # Few intervals are drawn as steps, many as points of a curve.
            parts = (0.0, 1.0) if count < _STEPS else (0.5,)
            points = [(frame.left + slot * (index + part), y) for index, y in enumerate(heights) for part in parts]
            yield from _line(points, one.style, frame.bottom if len(series) == 1 else None)
        for index in range(count):
            said = [f"{clock(index * seconds)} to {clock((index + 1) * seconds)}"]
            for one in series:
                value = one.values[index]
                said.append(f"{one.name}: {'-' if value is None else number(value)} {unit}".rstrip())
            yield (
                f'<rect class="hover" x="{frame.left + slot * index:.1f}" y="{frame.top}" width="{slot:.2f}" '
                f'height="{frame.bottom - frame.top}"><title>{escape(chr(10).join(said))}</title></rect>'
            )

    return Chart(height, draw)


def by_percentile(series: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], unit: str) -> Chart:
    """Return a chart of (percentile, value) points; each further nine takes the same width."""
    height, nines = 240, 4.0
    scale = fitting([value for _, _, points in series for _, value in points])

    def part(percent: float) -> float:
        return min(nines, -math.log10(max(1 - percent / 100, 10**-nines))) / nines

    def draw(width: int) -> Iterator[str]:
        frame = _frame(scale, width, height)
        yield from _levels(frame, scale)
        yield from _columns(frame, [(part(percent), f"{percent:g}") for percent in (0, 50, 90, 99, 99.9, 99.99)])
        for name, style, points in series:
            yield from _line([(frame.x(part(at)), frame.y(scale.place(value))) for at, value in points], style)
            for at, value in points:
                said = f"{name}: {at:g} % within {number(value)} {unit}"
                yield (
                    f'<circle class="hover" cx="{frame.x(part(at)):.1f}" cy="{frame.y(scale.place(value)):.1f}" r="7">'
                    f"<title>{escape(said)}</title></circle>"
                )

    return Chart(height, draw)


def by_place(curves: Sequence[Curve], unit: str, across: str, levels: Sequence[tuple[str, float]] = ()) -> Chart:
    """Return a chart of values over positions above 0 on a logarithmic axis; `levels` are (style, height) lines."""
    height = 280
    scale = linear(max([*(figure.high for one in curves for _, figure in one.points), *(top for _, top in levels)]))
    places = sorted({place for one in curves for place, _ in one.points})
    first, last = math.log(places[0]), math.log(places[-1])

    def part(place: float) -> float:
        return 0.04 + 0.92 * (math.log(place) - first) / max(1e-9, last - first)

    def draw(width: int) -> Iterator[str]:
        frame = _frame(scale, width, height - 18)._replace(top=_TOP + 18)
        yield from _levels(frame, scale)
        yield from _columns(frame, [(part(place), number(place)) for place in places])
        yield f'<text x="{frame.left}" y="{_TOP + 4}">{escape(unit)}</text>'
        yield f'<text x="{frame.x(0.5):.1f}" y="{height - 6}" text-anchor="middle">{escape(across)}</text>'
        for style, top in levels:
            y = frame.y(scale.place(top))
            yield f'<line class="mark {style}" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        for one in curves:
            points = [
                (frame.x(part(place)), *(frame.y(scale.place(value)) for value in figure))
                for place, figure in one.points
            ]
            yield from _line([(x, middle) for x, _, middle, _ in points], one.style)
            for x, low, middle, high in points:
                yield f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{high:.1f}" y2="{low:.1f}"/>'
                yield f'<circle class="{one.style} dot" cx="{x:.1f}" cy="{middle:.1f}" r="5"/>'

    return Chart(height, draw)


def ranges(rows: Sequence[Range], unit: str) -> Chart:
    """Return a chart with a line for each name, from the first to the last of its values, with a dot at each."""
    scale = fitting([value for row in rows for value in row.values])

    def draw_row(index: int, frame: _Frame, y: float) -> Iterator[str]:
        one = rows[index]
        places = [frame.x(scale.place(value)) for value in one.values]
        yield f'<line class="range" x1="{places[0]:.1f}" x2="{places[-1]:.1f}" y1="{y}" y2="{y}"/>'
        for style, place in enumerate(places, 1):
            yield f'<circle class="s{style} dot" cx="{place:.1f}" cy="{y}" r="4.5"/>'
        yield f'<rect class="hover" x="0" y="{y - _ROW / 2}" width="{frame.right + _RIGHT}" height="{_ROW}">'
        yield f"<title>{escape(one.said)}</title></rect>"

    return _by_name([row.name for row in rows], scale, unit, _RIGHT + 8, draw_row)


def bars(rows: Sequence[Bar], unit: str) -> Chart:
    """Return a chart with a bar for each name, with the range of its value."""
    scale = linear(max(row.figure.high for row in rows))

    def draw_row(index: int, frame: _Frame, y: float) -> Iterator[str]:
        one = rows[index]
        low, middle, high = (frame.x(scale.place(value)) for value in one.figure)
        thick = _ROW - 10
        yield f'<rect class="{one.style} bar" x="{frame.left}" y="{y - thick / 2}" '
        yield f'width="{max(1.0, middle - frame.left):.1f}" height="{thick}"/>'
        if high - low >= 1:
            for x1, x2, half in ((low, high, 0), (low, low, 4), (high, high, 4)):
                yield f'<line class="whisker" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y - half}" y2="{y + half}"/>'
        said = f"{number(one.figure.middle)} {unit}"
        yield f'<text class="value" x="{max(middle, high) + 8:.1f}" y="{y + 5}">{escape(said)}</text>'

    return _by_name([row.name for row in rows], scale, unit, _VALUE, draw_row)


def _by_name(
    names: Sequence[str], scale: Scale, unit: str, right: int, draw_row: Callable[[int, _Frame, float], Iterator[str]]
) -> Chart:
    height = _ROW * len(names) + 4 + _BOTTOM
    left = round(18 + _CHARACTER * max(map(len, names)))

    def draw(width: int) -> Iterator[str]:
        frame = _Frame(left, 4, width - right, height - _BOTTOM)
        for tick in scale.ticks:
            x = frame.x(scale.place(tick))
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.bottom}"/>'
        yield from _columns(frame, [(scale.place(tick), number(tick)) for tick in scale.ticks])
        for index, name in enumerate(names):
            y = frame.top + _ROW * (index + 0.5)
            yield f'<text class="name" x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
            yield from draw_row(index, frame, y)
        yield f'<text x="{left - 24}" y="{height - 8}" text-anchor="end">{escape(unit)}</text>'

    return Chart(height, draw)


def _frame(scale: Scale, width: int, height: int) -> _Frame:
    left = 14 + 7 * max(len(number(tick)) for tick in scale.ticks)
    return _Frame(left, _TOP, width - _RIGHT, height - _BOTTOM)


def _levels(frame: _Frame, scale: Scale) -> Iterator[str]:
    """Yield the vertical axis."""
    for tick in scale.ticks:
        y = frame.y(scale.place(tick))
        yield f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'


def _columns(frame: _Frame, labels: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Yield the labels below the horizontal axis, from last to first, without those that would overlap."""
    free = math.inf
    for part, label in reversed(labels):
        x, half = frame.x(part), _CHARACTER * len(label) / 2
        at_end = x + half > frame.right + _RIGHT
        end = x if at_end else x + half
        if end < free:
            anchor = "end" if at_end else "middle"
            yield f'<text x="{x:.1f}" y="{frame.bottom + 18}" text-anchor="{anchor}">{label}</text>'
            free = end - 2 * half - 6


def _stacked(series: Sequence[Series], frame: _Frame, scale: Scale, slot: float) -> Iterator[str]:
    thick = max(1.0, min(14.0, slot * 0.7))
    for index in range(len(series[0].values)):
        below = 0.0
        for one in series:
            value = one.values[index] or 0.0
            if value:
                top, bottom = frame.y(scale.place(below + value)), frame.y(scale.place(below))
                place = frame.left + slot * (index + 0.5) - thick / 2
                yield f'<rect class="{one.style} bar" x="{place:.1f}" y="{top:.1f}" width="{thick:.1f}" '
                yield f'height="{max(1.0, bottom - top):.1f}"/>'
                below += value


def _line(points: Sequence[tuple[float, float | None]], style: str, floor: float | None = None) -> Iterator[str]:
    """Yield a line with its gaps; a single point is a dot. With a floor the area below is filled."""
    run: list[tuple[float, float]] = []
    for x, y in [*points, (0.0, None)]:
        if y is not None:
            run.append((x, y))
            continue
        if len(run) == 1:
            yield f'<circle class="{style} dot" cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="3"/>'
        elif run:
            path = " ".join(f"{one:.1f},{other:.1f}" for one, other in run)
            if floor is not None:
                below = f"{run[-1][0]:.1f},{floor} {run[0][0]:.1f},{floor}"
                yield f'<polygon class="{style} area" points="{path} {below}"/>'
            yield f'<polyline class="{style} line" points="{path}"/>'
        run = []


def _drawn_legend(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    x = 20.0
    for name, style in entries:
        yield f'<circle class="{style} dot" cx="{x:.1f}" cy="14" r="5"/>'
        yield f'<text x="{x + 10:.1f}" y="18">{escape(name)}</text>'
        x += 34 + _CHARACTER * len(name)


_CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def _clock_ticks(total_s: float, frame: _Frame) -> list[tuple[float, str]]:
    least = total_s / max(2, (frame.right - frame.left) / 90)
    step = next((step for step in _CLOCK_STEPS if step >= least), math.ceil(least / 86400) * 86400)
    return [(step * index / total_s, clock(step * index)) for index in range(int(total_s / step + 1e-9) + 1)]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= least - 1e-12)
