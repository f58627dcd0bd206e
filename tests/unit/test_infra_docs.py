"""The documentation of the local stack names every option, and decisions have one form."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from chalicelib.config.settings import Settings
from chalicelib.http import openapi
from infra.local import cli as local
from infra.local.folder import StackFolder
from infra.local.parts import app_environment
from infra.local.stack import StackOptions, plan
from loadgen import __version__

PROJECT = Path(local.__file__).parents[2]
PAGE = PROJECT / "docs" / "local-stack.md"


def test_every_option_of_the_stack_is_in_its_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        local.main(["up", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert len(options) > 10
    assert {option for option in options if f"`{option}" not in PAGE.read_text()} == set()


def test_the_manual_names_all_settings_that_the_stack_does_not_take_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [field.name.upper() for field in fields(Settings)]
    for name in names:
        monkeypatch.setenv(name, "given")
    text = re.search(
        r"except what it sets itself: (.*?);(.*?)\n\n", (PROJECT / "docs/operations.md").read_text(), re.DOTALL
    )
    assert text is not None
    for said, login in ((text[1], False), (text[0], True)):
        used = app_environment(plan(StackOptions(login=login), StackFolder(tmp_path)), "gateway")
        assert {name for name in names if used[name] != "given"} == set(re.findall("`([A-Z_]+)`", said))


DECISIONS = sorted((PROJECT / "docs" / "decisions").glob("0*.md"))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_date_status_and_parts_fits_a_page_and_stands_in_the_index(path: Path) -> None:
    title, _, status, *rest = path.read_text().split("\n")
    assert re.fullmatch(rf"# {int(path.stem[:4])}\. .+", title)
    assert re.match(r"Date: 20[0-9]{2}-[01][0-9]-[0-3][0-9]\. Status: [a-z]+", status)
    headings = [line for line in rest if line.startswith("## ")]
    assert headings[:3] == ["## Context", "## Decision", "## Consequences"]
    assert len(rest) < 60
    assert f"[{title.partition('. ')[2]}]({path.name})" in (path.parent / "README.md").read_text()


def test_one_version_stands_for_the_whole_and_its_section_is_dated() -> None:
    released = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - 20\d\d-[01]\d-[0-3]\d$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert released[0] == __version__ == openapi.VERSION
