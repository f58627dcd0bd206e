"""What is seen while a replay runs: a live line on a terminal, else a plain line every few seconds. On stderr."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 5.0
_SMOOTHED_OVER_S = 5.0


class Counters(Protocol):
    """How far a run is."""

    @property
    def done(self) -> int:
        """Return how many commands are done."""

    @property
    def errors(self) -> int:
        """Return how many of them have no final answer."""

    @property
    def retries(self) -> int:
        """Return how many tries failed."""


class Rate:
    """Commands a second over the last seconds."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def update(self, done: int) -> float:
        """Return the current rate, `done` commands being done by now."""
        now = time.monotonic()
        self._points.append((now, done))
        while len(self._points) > 2 and self._points[1][0] < now - _SMOOTHED_OVER_S:
            del self._points[0]
        (then, before), elapsed = self._points[0], now - self._points[0][0]
        del then
        return (done - before) / elapsed if elapsed > 0 else 0.0


@contextmanager
def shown(statistics: Counters, total: int, stream: TextIO) -> Iterator[None]:
    """Show the progress of a run of `total` commands on `stream` while the block runs."""
    ended = threading.Event()
    console = Console(file=stream)
    show = _show_live if console.is_terminal else _show_plain
    thread = threading.Thread(target=show, args=(statistics, total, console, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_live(statistics: Counters, total: int, console: Console, ended: threading.Event) -> None:
    columns = (
        TextColumn("[bold]replay"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}"),
    )
    rate = Rate()
    with Progress(*columns, console=console, auto_refresh=False, expand=True) as progress:
        task = progress.add_task("replay", total=total, figures="", left="-")
        running = True
        while running:
            running = not ended.wait(LIVE_EVERY_S)
            figures, left = _figures(statistics, total, rate)
            style = "red" if statistics.errors else "green"
            progress.update(task, completed=statistics.done, figures=f"[{style}]{figures}[/]", left=left)
            progress.refresh()


def _show_plain(statistics: Counters, total: int, console: Console, ended: threading.Event) -> None:
    rate = Rate()
    while not ended.wait(PLAIN_EVERY_S):
        figures, left = _figures(statistics, total, rate)
        done = f"{statistics.done:,}/{total:,} commands ({100 * statistics.done // total} %)"
        print(f"{done}, {figures}, left {left}", file=console.file, flush=True)


def _figures(statistics: Counters, total: int, rate: Rate) -> tuple[str, str]:
    done = statistics.done
    per_second = rate.update(done)
    figures = f"{per_second:,.0f}/s, {statistics.errors:,} errors, {statistics.retries:,} retries"
    if per_second <= 0:
        return figures, "-"
    return figures, _clock(round((total - done) / per_second))


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
