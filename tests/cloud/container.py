"""The artifact's code on this machine: in one process without Lambda's runtime, or in containers of its functions."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from infra.cloud.containers import ISOLATED, contained, containers
from infra.cloud.runtime_api import RuntimeApi

Invoke = Callable[[str, Any], Any]
"""Calls a function of `app.py` by name with an event, and returns its result."""


class Isolated:
    """The code in a Python process of its own, without Lambda's runtime."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log
        self.files: list[str] = []

    def __call__(self, function: str, event: Any) -> Any:
        """Call a function."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"function": function, "event": event}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        self.files = answer["files"]
        return answer["answer"]


@contextmanager
def isolated(code: Path, on_board: Path, environment: Mapping[str, str], folder: Path) -> Iterator[Isolated]:
    """Run the code with nothing on its path but itself and the packages of Lambda's runtime."""
    command = [*ISOLATED, str(Path(__file__).with_name("isolated.py")), str(code), str(on_board)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    log = folder / "isolated.log"
    with contained(command, folder, environment, log, **pipes) as process:
        yield Isolated(process, log)


@contextmanager
def under_lambdas_runtime(code: Path, on_board: Path, environment: Mapping[str, str], folder: Path) -> Iterator[Invoke]:
    """Run a container for each function when it is first called."""
    with ExitStack() as running:
        apis: dict[str, RuntimeApi] = {}

        def invoke(function: str, event: Any) -> Any:
            if function not in apis:
                ways = containers(f"app.{function}", 1, code, on_board, environment, folder)
                apis[function] = running.enter_context(ways)
            return apis[function].invoke(event)

        yield invoke
