"""The documentation of the local stack names every option, and what README tells to type does what it shows."""

import json
import re
from pathlib import Path

import pytest

from chalicelib.domain.money import parse_cents
from chalicelib.quotes.sources import SimulatedSource
from infra.local import cli as local

PROJECT = Path(local.__file__).parents[2]
PAGE = PROJECT / "docs" / "local-stack.md"


def test_every_option_of_the_stack_is_in_its_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        local.main(["up", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert len(options) > 10
    assert {option for option in options if f"`{option}" not in PAGE.read_text()} == set()


def test_the_orders_of_the_readme_buy_something_at_every_price_of_the_stack(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        local.main(["up", "--help"])
    assert "simulated:1" in capsys.readouterr().out, "the prices of a stack that is told nothing else"
    prices = SimulatedSource("1", lambda: 0)
    add, buy = (json.loads(body) for body in re.findall(r"-d '(\{.*\})'", (PROJECT / "README.md").read_text()))
    dearest = max(prices.price_cents(buy["symbol"], minute * 60_000) for minute in range(0, 366 * 24 * 60, 60))
    assert dearest * 6 // 5 < parse_cents(buy["amount"], "amount") <= parse_cents(add["amount"], "amount")


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
