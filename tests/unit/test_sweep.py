"""The sweep's report, its order of symbols, its time, and the ticker that repeats it."""

import io
import json
import logging
from dataclasses import fields
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from chalicelib.config.settings import read_settings
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.sweep.report import Report, publish
from chalicelib.sweep.sweeper import WRITE_LIMIT_MS, begin_after
from infra.local.supervisor import StopRequestedError
from infra.servers.counters import SweepCounters
from infra.servers.ticker import tick
from tests.unit.test_settings import GOOD

REPORT = Report(symbols=7, quotes=6, unpriced=1, due=4, fired=5, expired=2, lost_races=3, outdated=8, seconds=0.25)


def test_the_report_is_one_line_that_tells_everything() -> None:
    assert REPORT.line() == (
        "sweep symbols=7 quotes=6 unpriced=1 due=4 fired=5 expired=2 lost_races=3 outdated=8 failed=0 complete=yes "
        "seconds=0.250"
    )


def test_the_metric_is_one_line_in_which_every_metric_has_its_value_and_unit() -> None:
    text = REPORT.metric("day-trading-prod-sweep", 1_700_000_000_000)
    assert "\n" not in text
    root = json.loads(text)
    (directive,) = root["_aws"]["CloudWatchMetrics"]
    assert root["_aws"]["Timestamp"] == 1_700_000_000_000
    assert directive["Namespace"] == "DayTrading"
    assert [[root[name] for name in dimensions] for dimensions in directive["Dimensions"]] == [
        ["day-trading-prod-sweep"]
    ]
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {name: (root[name], unit) for name, unit in units.items()} == {
        "SweepSymbols": (7, "Count"),
        "SweepQuotes": (6, "Count"),
        "SweepUnpriced": (1, "Count"),
        "SweepDue": (4, "Count"),
        "SweepFired": (5, "Count"),
        "SweepExpired": (2, "Count"),
        "SweepLostRaces": (3, "Count"),
        "SweepOutdated": (8, "Count"),
        "SweepFailed": (0, "Count"),
        "SweepComplete": (1, "Count"),
        "SweepSeconds": (0.25, "Seconds"),
    }
    assert len(units) == len(fields(Report))


def test_what_a_sweep_leaves_undone_is_counted_by_its_reason() -> None:
    registry = CollectorRegistry()
    counters = SweepCounters(registry)
    counters(Report(unpriced=1, outdated=2, failed=3))
    counters(Report(outdated=1))
    left = {
        reason: registry.get_sample_value("trading_sweep_left_total", {"reason": reason})
        for reason in ("unpriced", "outdated", "failed")
    }
    assert left == {"unpriced": 1, "outdated": 3, "failed": 3}


def test_the_metric_is_written_in_the_cloud_and_the_line_is_logged_everywhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    output = io.StringIO()
    with caplog.at_level(logging.INFO):
        publish(REPORT, None, output)
        assert output.getvalue() == ""
        publish(REPORT, "sweep", output, lambda: 5)
    assert json.loads(output.getvalue())["_aws"]["Timestamp"] == 5
    assert output.getvalue().endswith("}\n")
    assert caplog.messages == [REPORT.line()] * 2


@pytest.mark.parametrize(
    ("place", "order"),
    [(None, "ABCD"), ("A", "BCDA"), ("B", "CDAB"), ("BB", "CDAB"), ("D", "ABCD"), ("Z", "ABCD"), ("0", "ABCD")],
)
def test_a_sweep_begins_after_the_place_and_comes_round_to_it(place: str | None, order: str) -> None:
    assert "".join(begin_after(place, list("ABCD"))) == order


def test_a_sweep_and_what_it_has_begun_end_before_the_functions_time_out() -> None:
    """A quote that was asked for in the last moment, then its write, each with a try of the database at its end."""
    stage = json.loads((Path(__file__).parents[2] / ".chalice/config.json").read_text())["stages"]["prod"]
    settings = read_settings(GOOD)
    longest_ms = settings.sweep_limit_ms + settings.quote_limit_ms + WRITE_LIMIT_MS + 2 * settings.mongo_timeout_ms
    assert longest_ms < stage["lambda_functions"]["sweep"]["lambda_timeout"] * 1000


class Ticks:
    """A clock, a sweep that takes its time, and pauses; after the last pause somebody asks to stop."""

    def __init__(self, *takes: float | Exception) -> None:
        self.takes = list(takes)
        self.now = 100.0
        self.began: list[float] = []
        self.counted: list[Report | None] = []

    def sweep(self) -> Report:
        """Take the next sweep's time, or fail."""
        self.began.append(self.now)
        takes = self.takes.pop(0)
        if isinstance(takes, Exception):
            raise takes
        self.now += takes
        return Report()

    def pause(self, seconds: float) -> None:
        """Let the time pass, or stop."""
        if not self.takes:
            raise StopRequestedError
        self.now += seconds

    def run(self) -> list[float]:
        """Tick every 2 s to the end; return when sweeps began."""
        tick(self.sweep, 2.0, self.pause, self.counted.append, lambda: self.now)
        return self.began


def test_the_ticker_counts_from_beginning_to_beginning() -> None:
    assert Ticks(0.5, 1.5, 0.0, 0.0).run() == [100.0, 102.0, 104.0, 106.0]


def test_a_sweep_that_takes_longer_is_followed_by_one_at_once_and_by_no_more() -> None:
    assert Ticks(7.0, 0.0, 0.0).run() == [100.0, 107.0, 109.0]


def test_the_ticker_goes_on_after_an_outage_and_after_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert Ticks(StoreUnavailableError("no primary"), KeyError("a bug"), 0.0).run() == [100.0, 102.0, 104.0]
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [
        ("WARNING", False),
        ("ERROR", True),
        ("INFO", False),
    ]
    assert "no primary" in caplog.messages[0]


def test_every_sweep_is_counted_a_failed_one_as_such() -> None:
    ticks = Ticks(StoreUnavailableError("no primary"), 0.0)
    ticks.run()
    assert ticks.counted == [None, Report()]


def test_a_report_begins_with_nothing_and_says_when_it_is_incomplete() -> None:
    assert Report(complete=False).line().endswith(" complete=no seconds=0.000")
