"""Tries one fault at a time in a copy of the project, with the tests that must notice it."""

import enum
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.stack import PROJECT
from infra.mutants.areas import Area, files_of
from infra.mutants.faults import Fault

_COPIED = ("app.py", "chalicelib", "infra", "loadgen", "tests", "pyproject.toml", "docs", ".chalice")
_LONGEST_BASELINE = 600.0
_SHOWN_CHARACTERS = 4000


class TrialOutcome(enum.Enum):
    """The outcome of a fault."""

    UNIT = "killed by a unit test"
    SERVERS = "killed by a test on servers"
    SLOW = "killed: the tests came to no end"
    SURVIVED = "survived"


class TrialError(Exception):
    """The tests cannot be run, or fail without any fault."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the project in its own folder; the project itself is never touched."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> "Copy":
        """Copy what the tests need."""
        for name in _COPIED:
            source = PROJECT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                root.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, root / name)
        return cls(root)

    def baseline(self, area: Area, *, servers: bool) -> dict[tuple[str, ...], float]:
        """Return how long the tests of an area take. Raises TrialError if they fail without a fault."""
        taken = {}
        for patterns in (area.unit, area.servers if servers else ()):
            tests = files_of(self.root, patterns)
            began = time.monotonic()
            code, said = self._run(tests, _LONGEST_BASELINE) if tests else (0, "")
            if code != 0:
                raise TrialError(f"{area.name}: the tests fail without any fault: {' '.join(tests)}\n{said}")
            taken[patterns] = time.monotonic() - began
        return taken

    def outcome(self, fault: Fault, area: Area, baseline: dict[tuple[str, ...], float]) -> TrialOutcome:
        """Insert a fault, run the tests until one fails, and remove the fault."""
        file = self.root / fault.file
        sound = file.read_bytes()
        file.write_bytes(fault.put_into(sound))
        try:
            for patterns, killed in ((area.unit, TrialOutcome.UNIT), (area.servers, TrialOutcome.SERVERS)):
                if patterns and patterns in baseline:
                    code, _ = self._run(files_of(self.root, patterns), 30.0 + 5 * baseline[patterns])
                    if code != 0:
                        return TrialOutcome.SLOW if code is None else killed
            return TrialOutcome.SURVIVED
        finally:
            file.write_bytes(sound)

    def _run(self, tests: Sequence[str], limit_seconds: float) -> tuple[int | None, str]:
        """Run tests up to the first failure; return pytest's exit code and the end of its output.

        The code is 0 if all passed, 1 if one failed, 2 if one cannot be imported, None if they did not end.
        """
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
        command = [sys.executable, "-B", "-m", "pytest", *options, *tests]
        process = subprocess.Popen(
            command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            said, _ = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            _end_all_of(process)
        end = said.decode(errors="replace")[-_SHOWN_CHARACTERS:]
        if process.returncode not in {0, 1, 2}:
            raise TrialError(f"pytest ended with {process.returncode}: {end}")
        return process.returncode, end


def _end_all_of(process: "subprocess.Popen[bytes]") -> None:
    """Also end what the tests may have left: they are a session of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
