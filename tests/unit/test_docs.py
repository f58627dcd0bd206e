"""What the documents name exists: files, headings, targets of make, modules and commands."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from chalicelib.domain.money import parse_cents
from chalicelib.quotes.sources import SimulatedSource
from infra.local.arguments import parse
from infra.local.stack import PROJECT

DOCUMENTS = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
FOLDERS = ("chalicelib", "loadgen", "infra", "tests")
TUTORIAL = (PROJECT / "docs" / "tutorial.md").read_text()


def anchors(document: Path) -> set[str]:
    """Return the names of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        name, _, anchor = target.partition("#")
        path = document if not name else (document.parent / name)
        if "://" not in target and not (path.exists() and (not anchor or anchor in anchors(path))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_command_exists(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^ *|`)make ([a-z][a-z-]*)", text, re.MULTILINE)) <= targets
    modules = set(re.findall(r"python -m ((?:infra|loadgen)[a-z_.]*[a-z])", text))
    assert {module for module in modules if importlib.util.find_spec(module) is None} == set()


def test_every_document_stands_in_the_index() -> None:
    index = (PROJECT / "docs" / "README.md").read_text()
    linked = {(PROJECT / "docs" / name).resolve() for name in re.findall(r"\]\(([^)#]+)\)", index)}
    documents = {*PROJECT.glob("[A-Z]*.md"), *(PROJECT / "docs").glob("*.md")}
    assert documents - linked == {PROJECT / "README.md", PROJECT / "docs" / "README.md"}


def test_the_first_command_of_the_readme_makes_a_clone() -> None:
    commands = re.findall(r"^    (.+)$", (PROJECT / "README.md").read_text(), re.MULTILINE)
    assert commands[0].startswith("git clone ")


def test_the_orders_of_the_tutorial_are_carried_out_at_every_price_of_the_stack() -> None:
    assert parse(["up"]).quote_source == "simulated:1"
    prices = SimulatedSource("1", lambda: 0)
    bodies = [json.loads(body) for body in re.findall(r"--json '(\{.*\})'", TUTORIAL)]
    cash = parse_cents(bodies[0]["amount"], "amount")
    for body in (one for one in bodies if "symbol" in one):
        dearest = max(prices.price_cents(body["symbol"], minute * 60_000) for minute in range(0, 366 * 24 * 60, 60))
        limit = parse_cents(body.get("amount") or body["price"], "amount")
        assert dearest * 6 // 5 < limit < cash


def test_every_citation_of_the_rules_names_a_section_that_there_is() -> None:
    sections = set(re.findall(r"^## (\d)\. ", (PROJECT / "docs" / "rules.md").read_text(), re.MULTILINE))
    wrong, numbers = [], set()
    for module in [path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py")]:
        text = " ".join(module.read_text().split())
        for cited in re.findall(r"docs/rules\.md(?: sections? (\d(?:(?:,| and| to)* \d)*))?", text):
            numbers |= (named := set(re.findall(r"\d", cited)))
            wrong += [module.name] if not named or named - sections else []
    assert (wrong, numbers) == ([], sections)


def test_no_document_is_cited_that_is_not_in_the_repository() -> None:
    files = [path for folder in (*FOLDERS, "docs") for path in (PROJECT / folder).rglob("*")]
    texts = [path for path in (*files, *PROJECT.glob("*.*")) if path.suffix in {".py", ".md", ".js", ".json", ".yaml"}]
    assert [path for path in texts if re.search(r"\b(?:SPEC|API|DESIGN|STYLE)\.md\b", path.read_text())] == []
