"""What runs elsewhere has the form that it must have: GitHub's workflows, and the hooks before a commit."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
CHECK = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def checked(schema: str, path: Path) -> "subprocess.CompletedProcess[str]":
    """Hold a file against a schema that check-jsonschema brings along: nothing is fetched."""
    return subprocess.run([*CHECK, schema, str(path)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*")), ids=lambda path: path.name)
def test_a_workflow_has_the_form_that_github_takes(path: Path) -> None:
    done = checked("vendor.github-workflows", path)
    assert done.returncode == 0, done.stdout


def test_a_workflow_of_another_form_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOW.read_text().replace("runs-on:", "runs_on:"))
    assert checked("vendor.github-workflows", wrong).returncode != 0


def test_every_python_that_the_package_names_is_tested() -> None:
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert loaded(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]["python"] == named == ["3.11", "3.12", "3.13", "3.14"]


def test_what_workflows_and_hooks_run_is_there() -> None:
    steps = [step.get("run", "") for job in loaded(WORKFLOW)["jobs"].values() for step in job["steps"]]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", "\n".join(steps)):
        assert f"\n{target}: " in makefile
    for script in re.findall(r"\.ci/\S+", "\n".join(steps)):
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} cannot be run"
    for hook in loaded(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]:
        assert Path(hook["entry"].split()[0]).name in {"ruff", "mypy", "python"}
