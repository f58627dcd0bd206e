"""Every command line of the project explains itself, with an example that can be typed."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_COMMAND_LINES = {"infra/host/guard.py", "chalicelib/write_dump.py", "infra/size.py", "chalicelib/http/openapi.py"}
"""Programs that take no options: the first two are run by ours only, the others print something."""


def programs() -> list[str]:
    """Return the modules that `python -m` runs."""
    found = set()
    for folder in ("infra", "loadgen", "chalicelib"):
        for path in (ROOT / folder).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if re.search(r'^if __name__ == "__main__":', path.read_text(), re.MULTILINE) or path.name == "__main__.py":
                found.add(name)
    modules = {
        name.removesuffix(".py").removesuffix("/__main__").replace("/", ".") for name in found - NO_COMMAND_LINES
    }
    return sorted(module for module in modules if module != "infra.local.cli")  # it is infra.local


def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stderr}"
    return done.stdout


def commands_in(text: str) -> list[str]:
    """Return the commands that a help lists: the words under the line that ends with their choice, or COMMAND."""
    usage, _, rest = text.partition("\n\n")
    if not re.search(r"\{[\w,-]+\}\s+\.\.\.|(COMMAND|WHAT)\s+\.\.\.", usage):
        return []
    return re.findall(r"^    ([a-z][\w-]*)(?:\s|$)", rest, re.MULTILINE)


@cache
def helps() -> dict[str, str]:
    """Return all helps, of programs and of their commands."""
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(programs(), pool.map(help_of, programs()), strict=True))
        inner = [(module, command) for module, text in found.items() for command in commands_in(text)]
        found |= zip(map(" ".join, inner), pool.map(lambda one: help_of(*one), inner), strict=True)
    return found


def test_there_are_as_many_as_there_should_be() -> None:
    names = set(helps())
    assert {"infra.local up", "infra.local env", "infra.tokens", "infra.cloud deploy", "infra.bench compare"} <= names
    assert {"loadgen replay", "loadgen generate", "loadgen do", "loadgen.selftest.bench parse"} <= names


@pytest.mark.parametrize("name", programs())
def test_every_help_has_an_example_of_its_own_command(name: str) -> None:
    for command, text in helps().items():
        if command == name or command.startswith(f"{name} "):
            _, marked, examples = text.partition("\nexample:\n")
            typed = f"{'' if name == 'loadgen' else 'python -m '}{command}"
            assert marked, f"{command} --help has no example"
            assert typed in examples, f"the example of {command} is of another command:{examples}"
