"""The benchmark's records, comparisons, verdicts and page; what a run does is tried in tests/e2e/test_bench.py."""

import copy
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from infra.bench import cli, context, page
from infra.bench import record as records
from infra.bench.compare import BETTER, WITHIN, WORSE, compare, differences
from infra.bench.figures import LESS, MORE, Figures, Measured, add_round
from infra.bench.plots import plots
from infra.bench.record import Record, RecordError
from infra.bench.replays import Replayed, Setting
from infra.bench.sections import SECTIONS
from infra.bench.sections.replays import Replays
from infra.bench.sizes import QUICK, Sizes
from infra.bench.verdicts import judge
from infra.local.stack import PROJECT


@pytest.fixture
def record() -> Record:
    """Return the newest record that is kept."""
    return records.read(records.newest())


def scaled(record: Record, section: str, key: str, factor: float) -> Record:
    """Return a record with one figure changed by a factor, in every round."""
    changed = copy.deepcopy(record)
    figure = changed["sections"][section]["figures"][key]
    figure["rounds"] = [value * factor for value in figure["rounds"]]
    figure |= {name: figure[name] * factor for name in ("min", "median", "max")}
    return changed


def mark_of(old: Record, new: Record, label: str) -> str:
    (line,) = [line for line in compare(old, new) if line.label == label]
    return line.mark


def test_a_figure_has_its_rounds_and_their_spread() -> None:
    figures: Figures = {}
    for value in (3.0, 1.0, 2.0):
        add_round(figures, [Measured("rate", "a rate", value, "/s", MORE)])
    assert figures == {
        "rate": {
            "label": "a rate",
            "unit": "/s",
            "better": MORE,
            "rounds": [3.0, 1.0, 2.0],
            "min": 1.0,
            "median": 2.0,
            "max": 3.0,
        }
    }


def test_the_kept_record_is_of_a_whole_run_of_all_sections(record: Record) -> None:
    assert record["complete"]
    assert not record["settings"]["quick"]
    assert record["settings"]["sections"] == [section.name for section in SECTIONS]
    assert len(record["rounds"]) == record["settings"]["rounds"] >= 3
    for section in record["sections"].values():
        assert section["figures"]
        for figure in section["figures"].values():
            assert len(figure["rounds"]) == record["settings"]["rounds"]


def test_the_page_and_its_plots_are_those_of_the_kept_record(record: Record) -> None:
    """`make bench` writes them together; who changes the page makes it again (`python -m infra.bench page`)."""
    assert (PROJECT / page.PAGE).read_text() == page.page(record)
    drawn = {path.stem: path.read_text() for path in (PROJECT / page.PLOTS).iterdir()}
    assert drawn == plots(record)


def test_the_figures_in_readme_are_those_of_the_kept_record(record: Record) -> None:
    readme = (PROJECT / page.README).read_text()
    assert page.with_figures(readme, record) == readme


def test_the_page_shows_every_plot_and_each_is_well_formed(record: Record) -> None:
    shown = re.findall(r"\]\(performance/([a-z-]+)\.svg\)", page.page(record))
    drawn = plots(record)
    assert sorted(shown) == sorted(drawn)
    assert len(drawn) == 11
    for svg in drawn.values():
        assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314  # our own


def test_the_page_is_written_where_it_is_wanted(record: Record, tmp_path: Path) -> None:
    (tmp_path / page.README).write_text(f"# A\n{page.BEGIN}\nold\n{page.END}\nz\n")
    page.write(record, tmp_path)
    assert (tmp_path / page.PAGE).read_text() == page.page(record)
    readme = (tmp_path / page.README).read_text()
    assert readme.startswith("# A\n")
    assert readme.endswith("\nz\n")
    assert "old" not in readme


def test_no_page_is_made_of_a_run_that_was_cut_short(record: Record, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="interrupted"):
        page.write(record | {"complete": False, "ended": "interrupted"}, tmp_path)


def test_a_page_says_what_was_not_measured(record: Record) -> None:
    without = copy.deepcopy(record)
    del without["sections"]["quotes"]
    assert "This run did not measure it." in page.page(without)
    assert "This run did not measure it." not in page.page(record)


def test_the_page_names_every_option(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    text = page.page(record)
    for command in ("run", "compare", "page"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
        assert {option for option in options if f"`{option}" not in text} == set()


def test_a_comparison_marks_what_is_slower_and_what_is_faster(record: Record) -> None:
    users = record["settings"]["sizes"]["users"]
    rate, p50 = f"{users} users: rate", "all: p50"
    assert {line.mark for line in compare(record, record)} == {WITHIN}
    slower = scaled(record, "replay", f"rate.{users}", 0.01)
    assert mark_of(record, slower, rate) == WORSE
    assert mark_of(slower, record, rate) == BETTER
    assert mark_of(record, scaled(record, "latency", "p50.all", 1000), p50) == WORSE
    assert mark_of(record, scaled(record, "latency", "p50.all", 0.001), p50) == BETTER


def test_a_ratio_is_of_the_new_median_by_the_old_one(record: Record) -> None:
    key = f"rate.{record['settings']['sizes']['users']}"
    ratios = [line.ratio for line in compare(record, scaled(record, "replay", key, 0.01))]
    assert [ratio for ratio in ratios if ratio not in {1, None}] == [pytest.approx(0.01)]  # None: of nothing to nothing


def test_what_differs_within_the_spread_is_not_marked() -> None:
    old: Record = {"sections": {"s": {"figures": {}}}}
    new: Record = {"sections": {"s": {"figures": {}}}}
    for of, values in ((old, (100, 110, 120)), (new, (118, 130, 140))):
        for value in values:
            add_round(of["sections"]["s"]["figures"], [Measured("k", "label", value, "ms", LESS)])
    assert [line.mark for line in compare(old, new)] == [WITHIN]


def test_a_single_round_has_no_spread_and_marks_nothing() -> None:
    old: Record = {"sections": {"s": {"figures": {}}}}
    new: Record = {"sections": {"s": {"figures": {}}}}
    add_round(old["sections"]["s"]["figures"], [Measured("k", "label", 1, "ms", LESS)])
    add_round(new["sections"]["s"]["figures"], [Measured("k", "label", 9, "ms", LESS)])
    ((ratio, mark),) = [(line.ratio, line.mark) for line in compare(old, new)]
    assert (ratio, mark) == (9, WITHIN)


def test_a_comparison_says_in_what_the_runs_are_not_alike(record: Record) -> None:
    assert differences(record, record) == []
    other = copy.deepcopy(record)
    other["machine"]["cores"] = 64
    other["settings"]["sizes"]["commands"] = 7
    said = differences(record, other)
    assert [line.split(":")[0] for line in said] == ["machine cores", "commands"]


def test_two_records_are_compared_on_the_command_line(
    record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users = record["settings"]["sizes"]["users"]
    records.write(tmp_path / "old.json", record)
    records.write(tmp_path / "new.json", scaled(record, "replay", f"rate.{users}", 0.01))
    given = ["compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]
    assert cli.main(given) == cli.OK
    assert "1 worse" in capsys.readouterr().out
    assert cli.main([*given, "--gate"]) == cli.GATE_FAILED


@pytest.mark.parametrize("content", ["", "[]", '{"bench": 0}', "{"])
def test_what_is_no_record_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    assert cli.main(["page", str(path)]) == cli.BAD_INPUT
    assert str(path) in capsys.readouterr().err


def test_verdicts_are_by_the_medians_and_change_with_them(record: Record) -> None:
    """Each demand is met by a record made to meet it, and missed by one made to miss it."""
    users = record["settings"]["sizes"]["users"]
    figures = record["sections"]["replay"]["figures"]
    good = copy.deepcopy(record)
    for count, _ in record["settings"]["sizes"]["populations"]:
        good = scaled(good, "replay", f"rate.{count}", 2_000 / figures[f"rate.{count}"]["median"])
    good = scaled(good, "floor", "rate.single", 1_900 / good["sections"]["floor"]["figures"]["rate.single"]["median"])
    good = scaled(good, "latency", "p50.all", 9 / good["sections"]["latency"]["figures"]["p50.all"]["median"])
    assert [one.passed for one in judge(good)] == [True, True, True, True]
    assert [one.passed for one in judge(scaled(good, "replay", f"rate.{users}", 0.94))] == [True, False, True, True]
    assert [one.passed for one in judge(scaled(good, "replay", f"rate.{users}", 0.7))] == [False, False, True, False]
    assert [one.passed for one in judge(scaled(good, "latency", "p50.all", 1.2))] == [True, True, False, True]


def test_what_was_not_measured_has_no_verdict(record: Record) -> None:
    nothing = record | {"sections": {}}
    assert {one.passed for one in judge(nothing)} == {None}


def test_the_newest_record_is_the_last_by_time(tmp_path: Path, record: Record) -> None:
    for day in ("2026-02-01", "2026-10-01", "2026-09-30"):
        records.write(tmp_path / records.name_of(record | {"started_at": f"{day}T10:00:00+00:00"}), record)
    assert records.newest(tmp_path).name.startswith("2026-10-01-1000-")
    with pytest.raises(RecordError, match="make bench"):
        records.newest(tmp_path / "nowhere")


def test_the_record_to_compare_with_is_one_that_git_knows() -> None:
    """One that was just written, and is not committed yet, is not what a change is compared with."""
    assert records.newest(committed=True).parent == records.RESULTS


def test_populations_are_replayed_in_turns_of_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gets slower in a round would else be the rate of the most users in every one."""
    replayed: list[int] = []

    def replay(_folder: Path, _sizes: Sizes, setting: Setting) -> Replayed:
        replayed.append(setting.users)
        return Replayed(100.0, setting.commands, {"p50": 1.0, "p99": 2.0}, {}, {}, {}, 0.0)

    monkeypatch.setattr(context, "replay", replay)
    bench = context.Bench(QUICK, tmp_path, say=lambda _: None)
    found = []
    for _ in range(3):
        bench.next_round()
        found.append({one.key for one in Replays().run(bench)})
    few, many = (users for users, _ in QUICK.populations)
    assert replayed == [few, many, many, few, few, many]
    assert found[0] == found[1] == found[2]
