"""Figures over time in bounded memory, and the reports that are made of them."""

import csv
import random
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loadgen.results import charts, html
from loadgen.results.html import page
from loadgen.results.latencies import Latencies
from loadgen.results.lateness import Delay
from loadgen.results.statistics import Statistics
from loadgen.results.timeline import MAX_INTERVALS, Timeline
from loadgen.results.timeline import bucket as timeline_bucket
from tests.unit.loadgen.conftest import Run
from tests.unit.loadgen.outcomes import outcome
from tests.unit.loadgen.runs import report_of
from tests.unit.loadgen.stub import Handler, Request, StubServer


def test_a_second_has_what_ended_in_it() -> None:
    timeline = Timeline()
    for elapsed_s, latency_us in ((0.1, 1000), (0.9, 3000), (1.0, 5000), (4.5, None)):
        timeline.record(elapsed_s, elapsed_s, latency_us, retries=1)
    rows = timeline.figures()["rows"]
    assert [(row["t"], row["commands"], row["errors"], row["retries"]) for row in rows] == [
        (0, 2, 0, 2), (1, 1, 0, 1), (2, 0, 0, 0), (3, 0, 0, 0), (4, 1, 1, 1),
    ]  # fmt: skip
    assert (rows[0]["p50"], rows[0]["max"]) == (pytest.approx(1, rel=0.01), 3)
    assert (rows[2]["p99"], rows[4]["max"]) == (None, None)


def test_a_long_run_has_no_more_intervals_than_a_short_one_and_loses_nothing() -> None:
    timeline, chance, whole = Timeline(most=50), random.Random(3), Timeline(most=10_000)
    for second in range(0, 3000, 3):
        latency_us = int(chance.lognormvariate(8, 1))
        timeline.record(float(second), float(second), latency_us, retries=0)
        whole.record(0.0, 0.0, latency_us, retries=0)
    assert timeline.seconds == 64
    rows = timeline.figures()["rows"]
    assert len(rows) == 47
    assert sum(row["commands"] for row in rows) == 1000
    assert [row for _, row in timeline.joined(1).rows()] == [row for _, row in whole.rows()]
    assert Timeline.read(timeline.figures()).figures() == timeline.figures()


def test_an_hour_of_intervals_is_joined_while_the_run_hardly_waits() -> None:
    timeline, chance = Timeline(), random.Random(4)
    for second in range(MAX_INTERVALS):
        for _ in range(30):
            timeline.record(float(second), float(second), int(chance.lognormvariate(8, 1)), retries=0)
    start = time.process_time()
    timeline.record(float(MAX_INTERVALS), float(MAX_INTERVALS), 1, retries=0)
    assert timeline.seconds == 2
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 257, 5000, 123_456, 3_600_000_000])
def test_a_bucket_is_right_to_one_percent(value: int) -> None:
    assert value <= timeline_bucket(value) <= value * 1.01
    assert timeline_bucket(timeline_bucket(value)) == timeline_bucket(value)


def test_a_stall_of_days_does_not_take_memory() -> None:
    timeline = Timeline()
    timeline.record(0.0, 0.0, 1, retries=0)
    timeline.record(10 * 86_400.0, 10 * 86_400.0, 1, retries=0)
    assert timeline.seconds == 256
    assert len(timeline.figures()["rows"]) <= MAX_INTERVALS


def test_timelines_of_different_lengths_and_starts_add_up() -> None:
    long, short = Timeline(most=4), Timeline(most=4)
    for second in range(8):
        long.record(float(second), float(second), 1000, retries=0)
    short.record(0.5, 0.5, 9000, retries=2)
    long.add(short, later_s=5.0)
    rows = long.figures()["rows"]
    assert (long.seconds, [row["commands"] for row in rows]) == (2, [2, 2, 3, 2])
    assert rows[2]["retries"] == 2
    assert rows[2]["max"] == 9


def test_statistics_that_were_written_down_are_read_again_and_add_up_exactly() -> None:
    chance = random.Random(5)
    parts, whole = [Statistics(is_open=True) for _ in range(3)], Statistics(is_open=True)
    for one in (*parts, whole):
        one.start(1)
    for number in range(600):
        tries = 1 + number % 7 // 6
        made = outcome(latency_us=int(chance.lognormvariate(9, 2)), tries=tries, final=number % 50 != 0)
        for one in (parts[number % 3], whole):
            one.record("BUY" if number % 2 else "ADD", made, delay=Delay(order_us=number))
    added = Statistics()
    for part in parts:
        part.started_at_ms = whole.started_at_ms
        added.add(Statistics.read(part.figures(), part.started_at_ms))
    ours, theirs = added.figures(), whole.figures()
    assert ours["intervals"]["rows"]
    for name in ours.keys() - {"seconds", "rate", "histograms", "intervals"}:
        assert ours[name] == theirs[name], name


def test_the_latencies_are_right_to_three_digits_and_the_maximum_exact() -> None:
    latencies, values = Latencies(), sorted(random.Random(7).sample(range(1, 5_000_000), 5000))
    for value in values:
        latencies.record(value)
    summary = latencies.summary_ms()
    for name, percent in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        assert summary[name] == pytest.approx(values[int(percent * 5000) - 1] / 1000, rel=0.001)
    assert summary["max"] == values[-1] / 1000
    assert summary["mean"] == pytest.approx(sum(values) / 5_000_000, rel=0.001)


def test_the_csv_has_a_row_a_second(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert run("ADD,a,1.00\n" * 30, "--rate", "20", "--csv", str(out)) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = "second commands errors retries due sent late_max_ms p50_ms p90_ms p99_ms max_ms"
    assert list(rows[0]) == columns.split()
    assert [row["second"] for row in rows] == ["0", "1"]
    assert sum(int(row["commands"]) for row in rows) == 30
    assert float(rows[0]["p50_ms"]) <= float(rows[0]["max_ms"])


class Reader(HTMLParser):
    """Reads a page: its tags must match, and it must load nothing."""

    VOID = frozenset({"meta", "line", "circle", "rect", "polyline", "polygon", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.charts = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe", "object", "base", "form"}
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "action", "srcset"}
        self.charts += tag == "svg"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data + " "


def read_page(text: str) -> str:
    """Return what is to be read on a page that is whole and loads nothing."""
    assert not re.search(r"url\(|@import|//[a-z]", text.partition("<body>")[0])
    reader = Reader(text)
    assert reader.charts % len(charts.WIDTHS) == 0
    return " ".join(reader.text.split())


def test_the_page_shows_all_of_a_run_and_loads_nothing(
    run: Run, stub: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "_CHARTED", 1)

    def misbehave(handler: Handler, request: Request) -> bool:
        number = request.command.transaction
        if number == 5:
            handler.answer(500, {"code": "<script>alert(1)</script>"})
        elif number % 4 == 0 and request.attempt == 1:
            handler.answer(503, {"code": "store_unavailable"}, {"Retry-After": "0"})
        else:
            return False
        return True

    stub.misbehave = misbehave
    out, saved = tmp_path / "out.html", tmp_path / "out.json"
    lines = "\n".join(f"ADD,user{number % 4},1.00\nBUY,user{number % 4},S,2.00" for number in range(30))
    options = ["--verify", "--fail-on", "errors>0", "p99>60s", "--html", str(out), "--json", str(saved)]
    options += ["--title", "Night <b>run</b>", "--label", "build=12"]
    assert run(lines, "--rate", "60", *options) == 3
    said = read_page(out.read_text())
    for text in (
        "Night <b>run</b>", "build 12", "(version 7.1)", "Throughput over time", "Latency over time", "answered asked",
        "Lateness over time", "Errors and retries over time", "Second by second", "Latency by command",
        "Latency by percentile", "Outcomes", "Verification", "Gates", "Settings and machine", "store_unavailable 15",
        "500 <script>alert(1)</script> The first one: [5] ADD", '{"code": "<script>alert(1)</script>"}',
        "corrected: from when a command was due", "open, 60 commands/s", "of 60 asked", "delay",
        "failed errors>0: errors is 1", "409 amount_below_price", "uncorrected: from the first send", "memory (GB)",
    ):  # fmt: skip
        assert text in said, text
    assert page(report_of(saved)) == out.read_text()


def test_a_short_run_has_a_table_in_place_of_long_charts(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    assert run("ADD,a,1.00\nADD,b,1.00", "--html", str(out)) == 0
    said = read_page(out.read_text())
    assert "over time" not in said
    assert "Second by second" in said
    assert "from commands errors retries p50 p90 p99 max 0:00 2 0 0" in said


def test_the_page_of_a_run_without_any_answer_is_whole_too(run: Run, stub: StubServer, tmp_path: Path) -> None:
    def fail(handler: Handler, _request: Request) -> bool:
        handler.answer(500, {"code": "broken"})
        return True

    stub.misbehave = fail
    out = tmp_path / "out.html"
    assert run("ADD,a,1.00", "--html", str(out)) == 1
    assert "1 of 1 commands got no final answer" in read_page(out.read_text())


def long_report(run_report: dict[str, Any], seconds: int) -> dict[str, Any]:
    statistics = Statistics()
    statistics.start()
    chance = random.Random(1)
    for second in range(seconds):
        statistics.timeline.record(float(second), float(second), int(chance.lognormvariate(8, 1)), retries=0)
    return {**run_report, "seconds": float(seconds), "intervals": statistics.timeline.figures()}


def test_the_page_of_a_run_of_hours_is_no_larger_than_it_need_be(run: Run, tmp_path: Path) -> None:
    saved = tmp_path / "out.json"
    run("ADD,a,1.00", "--json", str(saved))
    text = page(long_report(report_of(saved), 3 * 3600))
    assert "one point every 64 seconds" in read_page(text)
    assert len(text) < 400_000


@pytest.mark.parametrize(
    ("top", "ticks"),
    [
        (7, ["0", "2", "4", "6", "8"]),
        (1, ["0", "0.25", "0.5", "0.75", "1"]),
        (3200, ["0", "1,000", "2,000", "3,000", "4,000"]),
    ],
)
def test_an_axis_has_few_and_round_ticks(top: float, ticks: list[str]) -> None:
    scale = charts.linear(top)
    assert [charts.number(tick) for tick in scale.ticks] == ticks
    assert scale.place(0) == 0
    assert scale.place(top) <= 1


def test_latencies_that_differ_a_lot_have_a_logarithmic_axis() -> None:
    scale = charts.fitting([0.4, 5.0, 900.0])
    assert [charts.number(tick) for tick in scale.ticks] == ["0.1", "1", "10", "100", "1,000"]
    assert 0 < scale.place(0.4) < scale.place(900) < 1
    assert charts.fitting([3.0, 7.0]).ticks[0] == 0
    assert charts.fitting([]).ticks[0] == 0
