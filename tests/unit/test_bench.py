"""The benchmark's records, comparisons, verdicts and page; what a run does is tried in tests/e2e/test_bench.py."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from infra.bench import cli, context, page
from infra.bench import record as records
from infra.bench.compare import BETTER, WITHIN, WORSE, compare, differences
from infra.bench.figures import LESS, MORE, Figures, Measured, add_round
from infra.bench.functions import CommandRun, FunctionCost, in_turns
from infra.bench.plots import plots
from infra.bench.record import Record, RecordError
from infra.bench.replays import Replayed, Setting
from infra.bench.sections import SECTIONS
from infra.bench.sections.replays import Replays
from infra.bench.sections.sustained import rates_by
from infra.bench.sizes import FULL, QUICK, Sizes
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


def test_the_kept_record_is_of_whole_runs_of_sections_that_there_are(record: Record) -> None:
    assert record["complete"]
    assert not record["settings"]["quick"]
    names = [section.name for section in SECTIONS]
    assert [name for name in names if name in record["sections"]] == list(record["sections"])
    assert len(record["rounds"]) == record["settings"]["rounds"] >= 3
    once = {section.name for section in SECTIONS if section.once}
    for name, section in record["sections"].items():
        assert section["figures"]
        for figure in section["figures"].values():
            assert len(figure["rounds"]) == (1 if name in once else len(section.get("run", record)["rounds"]))


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
    assert set(drawn) >= {"rates", "users", "latency", "cost", "memory", "quotes", "dump", "durability"}
    for svg in drawn.values():
        assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314  # our own


def test_the_page_names_every_section_that_there_is(record: Record) -> None:
    """Also those that its record has not."""
    listed = ", ".join(section.name for section in SECTIONS)
    assert f"The sections: {listed}." in " ".join(page.page(record).split())


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
    said = "This run did not measure it."
    assert page.page(without).count(said) == page.page(record).count(said) + 1


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


def with_medians(record: Record, medians: Mapping[tuple[str, str], float]) -> Record:
    """Return a record with these medians, by section and key."""
    changed = copy.deepcopy(record)
    for (section, key), median in medians.items():
        figures = changed["sections"].setdefault(section, {"figures": {}})["figures"]
        figures.setdefault(key, {})["median"] = median
    changed["settings"]["sizes"]["containers"] = FULL.containers
    return changed


GOOD: Mapping[tuple[str, str], float] = {
    **{("replay", f"rate.{users}"): 2_000.0 for users, _ in FULL.populations},
    ("floor", "rate.single"): 1_650.0,
    ("latency", "p50.all"): 9.0,
    ("any-server", "rate.workers.1"): 1_000.0,
    ("any-server", "rate.workers.2"): 750.0,
    ("any-server", "rate.balance.request"): 550.0,
    ("any-server", "rate.forgetful"): 650.0,
    ("functions", "wall.driver"): 1.0,
    ("functions", "wall.driver.8"): 1.0,
    ("functions", "wall.8"): 1.25,
    ("functions", "cpu.driver"): 0.5,
    ("functions", "cpu.driver.8"): 0.5,
    ("functions", "cpu.8"): 0.95,
    ("functions", "reads.8"): 1.04,
    ("functions", "writes.8"): 1.04,
    ("functions", "wire.8"): 2_000.0,
    ("functions", "wire.8.zlib"): 2_000.0,
    ("pages", "share"): 9.5,
    ("large", "triggers.1"): 1_000.0,
    ("large", "triggers.600"): 850.0,
    ("large", "orders.1"): 1_000.0,
    ("large", "orders.5000"): 550.0,
}


@pytest.mark.parametrize(
    ("section", "key", "factor", "missed"),
    [
        ("replay", "rate.45", 0.89, "1,800 commands/s"),
        ("floor", "rate.single", 1.1, "floor's rate"),
        ("latency", "p50.all", 1.2, "p50 is under"),
        ("replay", "rate.1200", 0.7, "changes by less"),
        ("replay", "rate.45", 1.34, "10 users make"),
        ("any-server", "rate.workers.2", 0.9, "two workers"),
        ("any-server", "rate.balance.request", 0.9, "balanced by request"),
        ("any-server", "rate.forgetful", 0.9, "keeps no account"),
        ("functions", "wall.driver", 0.9, "the bare driver's read and write in one that is always warm"),
        ("functions", "wall.driver.8", 0.9, "the bare driver's read and write in 8 processes"),
        ("functions", "cpu.driver", 0.9, "driver's CPU in one that is always warm"),
        ("functions", "cpu.driver.8", 0.9, "driver's CPU in 8 processes"),
        ("functions", "reads.8", 1.1, "reads"),
        ("functions", "writes.8", 1.1, "writes"),
        ("functions", "wire.8", 1.1, "to and from MongoDB"),
        ("functions", "wire.8.zlib", 1.1, "with `compressors=zlib`"),
        ("pages", "share", 1.1, "open pages"),
        ("large", "triggers.600", 0.9, "600 triggers"),
        ("large", "orders.5000", 0.9, "5,000 orders"),
    ],
)
def test_each_demand_is_met_and_missed_by_a_median(
    record: Record, section: str, key: str, factor: float, missed: str
) -> None:
    good = with_medians(record, GOOD)
    assert [one.demand for one in judge(good) if not one.passed] == []
    bad = with_medians(good, {(section, key): GOOD[section, key] * factor})
    assert any(missed in one.demand for one in judge(bad) if not one.passed)


def later_run(record: Record, *names: str) -> Record:
    """Return a run of some sections, a day after the kept one."""
    later = copy.deepcopy(record) | {"started_at": "2099-01-01T00:00:00+00:00", "commit": "abcdef0", "dirty": True}
    return later | {"sections": {name: later["sections"][name] for name in names}, "rounds": record["rounds"][:1]}


def test_a_section_is_measured_anew_by_itself_and_the_page_says_of_which_run_it_is(record: Record) -> None:
    names = [section.name for section in SECTIONS]
    run = scaled(later_run(record, "quotes"), "quotes", "warm", 3.0)
    kept = records.with_sections(record, run, names)
    assert kept["sections"]["quotes"]["figures"] == run["sections"]["quotes"]["figures"]
    assert kept["sections"]["dump"] == record["sections"]["dump"]
    assert list(kept["sections"]) == kept["settings"]["sections"] == list(record["sections"])
    said = page.page(kept)
    run_of = "2099-01-01 00:00 UTC, 1 round, commit abcdef0, with changes that are not in it"
    assert f"| quotes, measured by itself | {run_of} |" in said
    assert "2099" not in page.page(record)


def test_a_section_of_other_sizes_is_not_put_beside_the_kept_ones(record: Record) -> None:
    run = later_run(record, "quotes")
    run["settings"]["sizes"]["quote_reads"] += 1
    with pytest.raises(RecordError, match=r"other sizes \(quote_reads\)"):
        records.with_sections(record, run, ["quotes"])


def test_a_section_that_is_no_more_is_kept_no_longer(record: Record) -> None:
    assert list(records.with_sections(record, later_run(record, "quotes"), ["quotes"])["sections"]) == ["quotes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "replay"], "compares ceiling, cost, floor, latency, memory, replay with each other"),
        (["--only", "quotes", "--quick"], "worthless"),
        ([], "kept anyway"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_it_is_measured(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--keep", *arguments]) == cli.BAD_INPUT
    assert said in capsys.readouterr().err


def test_the_rate_of_each_part_counts_what_ended_in_each_second() -> None:
    assert list(rates_by([10, 10, 0, 5], 5)) == [10.0, 10.0, 10.0, 10.0, 2.5]
    assert list(rates_by([4, 4, 4], 8)) == [4.0]
    assert list(rates_by([], 5)) == []


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


def test_containers_and_bare_driver_take_turns_so_the_machine_is_as_fast_for_both() -> None:
    turns: list[tuple[str, int]] = []

    class Noted(CommandRun):
        def __init__(self, name: str) -> None:
            self.name = name

        def warm_up(self, count: int) -> None:
            turns.append((self.name, count))

        turn = warm_up

        def cost(self) -> FunctionCost:
            return FunctionCost(*[float(self.name == "b")] * 6)

    assert [cost.wall_ms for cost in in_turns([Noted("a"), Noted("b")], commands=250, warm_up=30)] == [0, 1]
    assert turns == [("a", 30), ("b", 30), ("a", 100), ("b", 100), ("b", 100), ("a", 100), ("a", 20), ("b", 20)]
