"""Progress of a replay, on stderr: a live view on a terminal, else a plain line every few seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live as LiveDisplay
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from loadgen.results.statistics import Live

LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 5.0
_SMOOTHED_OVER_S = 5.0
_REASONS = 5
"""How many reasons of errors and retries are shown."""

Asked = Callable[[float], float | None]
"""The target rate in commands per second, at a time in seconds after the start; None if there is none."""


class Source(Protocol):
    """A run whose progress can be shown."""

    def live(self) -> Live:
        """Return its progress."""


class Rate:
    """Commands per second over the last seconds."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._points: list[tuple[float, int]] = [(self.started, 0)]

    def update(self, done: int) -> float:
        """Return the current rate, given the number of commands done."""
        now = time.monotonic()
        self._points.append((now, done))
        while len(self._points) > 2 and self._points[1][0] < now - _SMOOTHED_OVER_S:
            del self._points[0]
        then, before = self._points[0]
        return (done - before) / (now - then) if now > then else 0.0


@contextmanager
def shown(source: Source, total: int, stream: TextIO, asked: Asked | None = None) -> Iterator[None]:
    """Show the progress of a run of `total` commands on `stream` while the block runs."""
    ended = threading.Event()
    console = Console(file=stream)
    show = _show_live if console.is_terminal else _show_plain
    thread = threading.Thread(target=show, args=(source, total, console, ended, asked), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_live(source: Source, total: int, console: Console, ended: threading.Event, asked: Asked | None) -> None:
    columns = (
        TextColumn("[bold]replay"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]} left"),
    )
    rate = Rate()
    progress = Progress(*columns, console=console, expand=True)
    task = progress.add_task("replay", total=total, left="-")
    with LiveDisplay(console=console, auto_refresh=False) as display:
        running = True
        while running:
            running = not ended.wait(LIVE_EVERY_S)
            live = source.live()
            per_second = rate.update(live.done)
            progress.update(task, completed=live.done, left=_left(live.done, total, per_second))
            style = "red" if live.errors else "yellow" if live.retries else "green"
            lines = [Text(_figures(live, per_second, asked, rate.started), style=style)]
            if live.reasons:
                lines.append(Text(_reasons(live), style=style))
            display.update(Group(progress, *lines), refresh=True)


def _show_plain(source: Source, total: int, console: Console, ended: threading.Event, asked: Asked | None) -> None:
    rate = Rate()
    while not ended.wait(PLAIN_EVERY_S):
        live = source.live()
        per_second = rate.update(live.done)
        done = f"{live.done:,}/{total:,} commands ({100 * live.done // total} %)"
        reasons = f"; {_reasons(live)}" if live.reasons else ""
        figures = f"{_figures(live, per_second, asked, rate.started)}, {_left(live.done, total, per_second)} left"
        print(f"{done}, {figures}{reasons}", file=console.file, flush=True)


def _figures(live: Live, per_second: float, asked: Asked | None, started: float) -> str:
    wanted = None if asked is None else asked(time.monotonic() - started)
    rate = f"{per_second:,.0f}/s" if wanted is None else f"{per_second:,.0f} of {wanted:,.0f}/s"
    parts = [rate, f"{live.errors:,} errors", f"{live.retries:,} retries"]
    found = live.recent.latency_ms()
    if found["p50"] is not None:
        parts.append(f"p50 {found['p50']:,.1f}, p99 {found['p99']:,.1f}, max {found['max']:,.1f} ms")
    if live.recent.due:
        parts.append(f"up to {live.recent.late_us / 1000:,.1f} ms late")
    return ", ".join(parts)


def _reasons(live: Live) -> str:
    return "reasons: " + ", ".join(f"{reason} {count:,}" for reason, count in live.reasons.most_common(_REASONS))


def _left(done: int, total: int, per_second: float) -> str:
    return _clock(round((total - done) / per_second)) if per_second > 0 else "-"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
