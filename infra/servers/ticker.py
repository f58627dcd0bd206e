"""The local substitute for the cloud's schedule: sweeps every TRIGGER_SECONDS until it is told to stop.

    TRIGGER_SECONDS=1 python -m infra.servers.ticker

It needs the app's settings in its environment.
"""

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, write_to_textfile

from chalicelib.config.settings import SettingError, Settings, read_settings
from chalicelib.domain.errors import LoginRefusedError, PermanentError, UnavailableError, UnknownDataVersionError
from chalicelib.runtime import make_runtime
from chalicelib.store.errors import StoreError
from chalicelib.sweep.report import Report
from infra.host.arguments import add_examples
from infra.host.signals import STOP_OR_HANG_UP, is_pending
from infra.local.supervisor import StopRequestedError, StopSignals
from infra.servers import metrics
from infra.servers.counters import SweepCounters

log = logging.getLogger("ticker")

Pause = Callable[[float], None]
"""Waits some seconds, or raises StopRequestedError."""


def tick(
    sweep: Callable[[], Report],
    seconds: float,
    pause: Pause,
    count: Callable[[Report | None], None],
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Sweep every `seconds`, counted from start to start, until `pause` says to stop.

    One sweep at a time: one that took longer is followed by the next at once, and missed ones are not made up for.
    Failures are logged, and the next sweep tries again. `count` is called with each report, or None for a failed sweep.
    """
    with contextlib.suppress(StopRequestedError):
        while True:
            began, report = now(), None
            try:
                report = sweep()
                log.info("%s", report.line())
            except (PermanentError, UnavailableError) as error:
                log.warning("no sweep: %s", error)
            except Exception:
                log.exception("unhandled exception in a sweep")
            count(report)
            pause(max(0.0, began + seconds - now()))


def run(settings: Settings, pause: Pause) -> None:
    """Tick until a signal to stop; a sweep in progress then begins nothing new and ends.

    The signals are blocked, in this thread and in those started here, including the driver's, and polled where it is
    safe to stop. A thread that does not block them would get them, and end the process.
    """
    runtime = make_runtime(settings)
    try:
        with contextlib.suppress(StoreError, PermanentError, LoginRefusedError):  # the sweeps will report it
            runtime.registry.check()
        log.info("sweeping every %g s", settings.trigger_seconds)
        registry = CollectorRegistry()
        counters = SweepCounters(registry)
        path = metrics.sweeps_file()

        def count(report: Report | None) -> None:
            counters(report)
            if path is not None:
                try:
                    write_to_textfile(str(path), registry)
                except OSError as error:
                    log.warning("the counters of sweeps cannot be written: %s", error)

        tick(partial(runtime.sweeper.sweep, stop_is_requested), settings.trigger_seconds, pause, count)
        log.info("stopped")
    finally:
        runtime.close()


def stop_is_requested() -> bool:
    """Return whether a signal to stop is pending."""
    return is_pending(STOP_OR_HANG_UP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.servers.ticker", description=__doc__)
    add_examples(parser, "TRIGGER_SECONDS=5 python -m infra.servers.ticker")
    parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(os.environ)
    except SettingError as error:
        log.error("%s", error)  # noqa: TRY400  # the message says it all
        return 2
    if not settings.trigger_seconds:
        log.info("TRIGGER_SECONDS is 0: nothing to do")
        return 0
    with StopSignals() as signals:
        try:
            run(settings, signals.pause)
        except UnknownDataVersionError as error:
            log.error("%s", error)  # noqa: TRY400  # the message says it all
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
