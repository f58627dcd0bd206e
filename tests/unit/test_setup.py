"""Which Python `make setup` takes, and what it says when there is none that will do."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "infra" / "host" / "find_python.sh"


class Machine:
    """A machine with no Pythons but those that a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.system, self.path = folder / "system bin", folder / "path bin"
        self.system.mkdir()
        self.path.mkdir()

    def put(self, name: str, version: str, *, system: bool = False, venv: bool = True) -> str:
        """Put a Python there and return its path."""
        minor = int(version.split(".")[1])
        program = (self.system if system else self.path) / name
        program.write_text(
            f"""#!/bin/sh
case "$2" in
    *ensurepip*) exit {0 if venv and minor >= 11 else 1} ;;
    *version_info*) exit {0 if minor >= 11 else 1} ;;
    *) echo {version} ;;
esac
"""
        )
        program.chmod(0o755)
        return str(program)

    def find(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the script."""
        environment = {**os.environ, "PATH": str(self.path), "SYSTEM_BIN": str(self.system)}
        return subprocess.run(
            ["/bin/sh", str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def finds(self, *arguments: str) -> str:
        """Return the Python that it takes."""
        done = self.find(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def refuses(self, *arguments: str) -> str:
        """Return the one sentence that it says instead."""
        done = self.find(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        (sentence,) = done.stderr.splitlines()
        return sentence


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_python_that_can_make_environments_is_taken(machine: Machine) -> None:
    machine.put("python3.11", "3.11.2", system=True)
    machine.put("python3.12", "3.12.1")
    machine.put("python3.13", "3.13.0", venv=False)
    assert machine.finds() == "python3.12"


def test_of_two_of_one_version_the_systems_own_is_taken(machine: Machine) -> None:
    machine.put("python3.13", "3.13.0")
    own = machine.put("python3.13", "3.13.5", system=True)
    assert machine.finds() == own


def test_a_python_that_has_no_number_in_its_name_is_found(machine: Machine) -> None:
    machine.put("python3", "3.15.0")
    assert machine.finds() == "python3"


def test_the_python_that_is_asked_for_is_taken_and_not_the_newest(machine: Machine) -> None:
    machine.put("python3.13", "3.13.0")
    wanted = machine.put("python3.11", "3.11.2")
    assert machine.finds(wanted) == wanted


def test_without_a_python_it_is_said_what_to_install(machine: Machine) -> None:
    assert machine.refuses().startswith("this needs Python 3.11 or newer, found none: install one (Debian 12 or newer,")


def test_a_python_that_is_too_old_is_refused_by_its_version(machine: Machine) -> None:
    old = machine.put("python3", "3.10.13")
    assert machine.refuses().startswith("this needs Python 3.11 or newer, found 3.10.13: install one")
    assert machine.refuses(old) == f"PYTHON={old} is 3.10.13: this needs Python 3.11 or newer"


def test_a_python_without_venv_is_refused_with_the_package_that_has_it(machine: Machine) -> None:
    bare = machine.put("python3", "3.13.5", system=True, venv=False)
    install = "cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)"
    assert machine.refuses() == f"{bare} {install}"
    assert machine.refuses(bare) == f"PYTHON={bare} (3.13.5) {install}"


def test_what_is_no_python_is_refused(machine: Machine) -> None:
    assert machine.refuses("python9") == "PYTHON=python9 is no Python that runs: this needs Python 3.11 or newer"
