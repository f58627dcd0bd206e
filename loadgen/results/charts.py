"""Small charts as SVG: lines over time, bars over time, ranges by name, latency by percentile.

Every chart is drawn in three widths, and the page shows the one that fits: so text has the same size on a telephone,
on a screen and on paper. Colours are the page's (classes `s1` to `s4`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTHS = (("narrow", 330), ("middle", 680), ("wide", 1120))
_STEPS = 40
_RIGHT, _TOP, _BOTTOM = 14, 10, 26


class Series(NamedTuple):
    """A named line; None is a gap. `style` is its class."""

    name: str
    style: str
    values: Sequence[float | None]


class Scale(NamedTuple):
    """The vertical axis: where a value is, from 0 at the bottom to 1 at the top, and its ticks."""

    place: Callable[[float], float]
    ticks: Sequence[float]


def number(value: float) -> str:
    """Return a figure as a reader wants it: three digits, no more."""
    if value == 0:
        return "0"
    if abs(value) >= 1e9:
        return f"{value / 1e9:.3g}G"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def linear(top: float) -> Scale:
    """Return an axis from 0 to a round number that holds `top`."""
    step = _round_step(max(top, 1e-9) / 4)
    count = max(1, math.ceil(max(top, 1e-9) / step - 1e-9))
    return Scale(lambda value: value / (step * count), [step * index for index in range(count + 1)])


def logarithmic(low: float, top: float) -> Scale:
    """Return an axis over whole powers of ten that holds `low` and `top`, both above 0."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(top) - 1e-9)
    last = max(last, first + 1)

    def place(value: float) -> float:
        return (math.log10(max(value, 10.0**first)) - first) / (last - first)

    return Scale(place, [10.0**power for power in range(first, last + 1)])


def fitting(values: Sequence[float]) -> Scale:
    """Return an axis for latencies: logarithmic where they differ by more than a factor of 30."""
    above = [value for value in values if value > 0]
    if above and max(above) > 30 * min(above):
        return logarithmic(min(above), max(above))
    return linear(max(above, default=1.0))


def over_time(series: Sequence[Series], seconds: float, scale: Scale, unit: str, *, bars: bool = False) -> str:
    """Return a chart of values by interval, each `seconds` long; as lines, or as bars on each other."""
    return _three(220, lambda width, height: _over_time(series, seconds, scale, unit, width, height, bars=bars))


def by_percentile(series: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], unit: str) -> str:
    """Return a chart of (percentile, value) points; each further nine has the same width."""
    scale = fitting([value for _, _, points in series for _, value in points])
    return _three(240, lambda width, height: _by_percentile(series, scale, unit, width, height))


def ranges(rows: Sequence[tuple[str, Sequence[float], str]], unit: str) -> str:
    """Return for each name a bar from the first to the last of its values, with a mark at each; and what to say."""
    values = [value for _, found, _ in rows for value in found]
    scale = fitting(values)
    return _three(34 + 24 * len(rows), lambda width, height: _ranges(rows, scale, unit, width, height))


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Return the legend of (name, style)."""
    marks = "".join(f'<span class="key"><i class="{style}"></i>{escape(name)}</span>' for name, style in entries)
    return f'<p class="legend">{marks}</p>'


def _three(height: int, draw: Callable[[int, int], str]) -> str:
    return "".join(
        f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-hidden="{_hidden(name)}">'
        f"{draw(width, height)}</svg>"
        for name, width in WIDTHS
    )


def _hidden(name: str) -> str:
    return "false" if name == "wide" else "true"


def _over_time(
    series: Sequence[Series], seconds: float, scale: Scale, unit: str, width: int, height: int, *, bars: bool
) -> str:
    count = max(len(one.values) for one in series)
    left = _margin(scale)
    inner, tall = width - left - _RIGHT, height - _TOP - _BOTTOM
    slot = inner / count

    def y(value: float) -> float:
        return _TOP + tall * (1 - scale.place(value))

    drawn = [*_axis(scale, left, width, height), *_clock_axis(count * seconds, left, inner, height)]
    if bars:
        drawn += _bars(series, count, left, slot, y)
    else:
        for one in series:
            places = [None if value is None else y(value) for value in one.values]
            points = [
                (left + slot * (index + part), place) for index, place in enumerate(places) for part in _parts(count)
            ]
            drawn += _line(points, one.style, height - _BOTTOM if one is series[0] and len(series) == 1 else None)
    for index in range(count):
        said = [f"{clock(index * seconds)} to {clock((index + 1) * seconds)}"]
        for one in series:
            value = one.values[index]
            said.append(f"{one.name}: {'-' if value is None else number(value)} {unit}".rstrip())
        drawn.append(
            f'<rect class="hover" x="{left + slot * index:.1f}" y="{_TOP}" width="{slot:.2f}" height="{tall}">'
            f"<title>{escape(chr(10).join(said))}</title></rect>"
        )
    return "".join(drawn)


def _parts(count: int) -> Sequence[float]:
    """Return where in an interval a line has points: few intervals are steps, many are points of a curve."""
    return (0.0, 1.0) if count < _STEPS else (0.5,)


def _bars(series: Sequence[Series], count: int, left: float, slot: float, y: Callable[[float], float]) -> Iterator[str]:
    thick = max(1.0, min(14.0, slot * 0.7))
    for index in range(count):
        below = 0.0
        for one in series:
            value = one.values[index] or 0.0
            if value:
                top, bottom = y(below + value), y(below)
                place = left + slot * (index + 0.5) - thick / 2
                yield f'<rect class="{one.style} bar" x="{place:.1f}" y="{top:.1f}" width="{thick:.1f}" '
                yield f'height="{max(1.0, bottom - top):.1f}"/>'
                below += value


def _line(points: Sequence[tuple[float, float | None]], style: str, floor: float | None) -> Iterator[str]:
    """Yield a line with its gaps; a point alone is a dot. With a floor the space below it is filled."""
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


def _by_percentile(
    series: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    scale: Scale,
    unit: str,
    width: int,
    height: int,
) -> str:
    left = _margin(scale)
    inner, tall = width - left - _RIGHT - 12, height - _TOP - _BOTTOM
    nines = 4.0

    def x(percent: float) -> float:
        return left + inner * min(nines, -math.log10(max(1 - percent / 100, 10**-nines))) / nines

    def y(value: float) -> float:
        return _TOP + tall * (1 - scale.place(value))

    drawn = [*_axis(scale, left, width, height)]
    for percent, label in ((0, "0"), (50, "50"), (90, "90"), (99, "99"), (99.9, "99.9"), (99.99, "99.99")):
        drawn.append(f'<line class="grid" x1="{x(percent):.1f}" x2="{x(percent):.1f}" y1="{_TOP}" y2="{_TOP + tall}"/>')
        anchor = "end" if percent > 99.9 else "middle"
        drawn.append(f'<text x="{x(percent):.1f}" y="{height - 8}" text-anchor="{anchor}">{label}</text>')
    for name, style, points in series:
        drawn += _line([(x(percent), y(value)) for percent, value in points], style, None)
        for percent, value in points:
            said = f"{name}: {percent:g} % within {number(value)} {unit}"
            drawn.append(f'<circle class="hover" cx="{x(percent):.1f}" cy="{y(value):.1f}" r="7">')
            drawn.append(f"<title>{escape(said)}</title></circle>")
    return "".join(drawn)


def _ranges(rows: Sequence[tuple[str, Sequence[float], str]], scale: Scale, unit: str, width: int, height: int) -> str:
    left = 132 if width < 600 else 160
    inner = width - left - _RIGHT - 8
    bottom = height - _BOTTOM
    drawn = []
    ticks = scale.ticks if width >= 600 else scale.ticks[:: max(1, math.ceil(len(scale.ticks) / 4))]
    for tick in ticks:
        x = left + inner * scale.place(tick)
        drawn.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{number(tick)}</text>')
    for index, (name, values, said) in enumerate(rows):
        y = 16 + 24 * index
        places = [left + inner * scale.place(value) for value in values]
        drawn.append(f'<text class="name" x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        drawn.append(f'<line class="range" x1="{places[0]:.1f}" x2="{places[-1]:.1f}" y1="{y}" y2="{y}"/>')
        for number_of, place in enumerate(places, 1):
            drawn.append(f'<circle class="s{number_of} dot" cx="{place:.1f}" cy="{y}" r="4.5"/>')
        drawn.append(f'<rect class="hover" x="0" y="{y - 12}" width="{width}" height="24">')
        drawn.append(f"<title>{escape(said)}</title></rect>")
    drawn.append(f'<text class="unit" x="{left - 10}" y="{height - 8}" text-anchor="end">{escape(unit)}</text>')
    return "".join(drawn)


def _axis(scale: Scale, left: float, width: int, height: int) -> Iterator[str]:
    tall = height - _TOP - _BOTTOM
    for tick in scale.ticks:
        y = _TOP + tall * (1 - scale.place(tick))
        yield f'<line class="grid" x1="{left}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'


def _clock_axis(total_s: float, left: float, inner: float, height: int) -> Iterator[str]:
    step = _clock_step(total_s / max(2, inner / 90))
    moment = 0.0
    while moment <= total_s + 1e-9:
        x = left + inner * moment / total_s
        anchor = "end" if x > left + inner - 16 else "middle"
        yield f'<text x="{x:.1f}" y="{height - 8}" text-anchor="{anchor}">{clock(moment)}</text>'
        moment += step


def _margin(scale: Scale) -> int:
    return 14 + 7 * max(len(number(tick)) for tick in scale.ticks)


def clock(seconds: float) -> str:
    """Return a time from the start."""
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= least - 1e-12)


_CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def _clock_step(least: float) -> float:
    return next((step for step in _CLOCK_STEPS if step >= least), math.ceil(least / 86400) * 86400)
