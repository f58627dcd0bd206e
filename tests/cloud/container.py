"""Containers of the deployed functions on this machine: of the plainest kind, and as Lambda runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from infra.host import guard
from tests.cloud.runtime_api import RuntimeApi, runtime_api

Invoke = Callable[[str, Any], Any]
"""Calls a function, by its name in `app.py`, with an event; returns what it returns."""

ISOLATED = (sys.executable, "-I", "-S", "-B")
"""Python with nothing of what is installed here."""

_RUNTIME = """
import sys
sys.path[:0] = sys.argv[1:3]
from awslambdaric.__main__ import main
main(sys.argv[2:])
"""


@contextmanager
def _process(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path, **pipes: Any
) -> Iterator[Any]:
    guarded = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command]
    with log.open("ab") as file:
        process = subprocess.Popen(guarded, cwd=cwd, env=dict(environment), stderr=file, **{"stdout": file, **pipes})
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class Isolated:
    """The code in one process of Python, without Lambda's runtime."""

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
    """Run the code with nothing but itself and what is on board."""
    command = [*ISOLATED, str(Path(__file__).with_name("isolated.py")), str(code), str(on_board)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    log = folder / "isolated.log"
    with _process(command, folder, environment, log, **pipes) as process:
        yield Isolated(process, log)


@contextmanager
def containers(
    function: str, count: int, code: Path, on_board: Path, environment: Mapping[str, str], folder: Path
) -> Iterator[RuntimeApi]:
    """Run containers of one function under Lambda's own runtime client; yields what they are invoked through."""
    with ExitStack() as running:
        api, address = running.enter_context(runtime_api())
        lambdas = {**environment, "AWS_LAMBDA_RUNTIME_API": address, "LAMBDA_TASK_ROOT": str(code)}
        command = [*ISOLATED, "-c", _RUNTIME, str(on_board), str(code), f"app.{function}"]
        for number in range(count):
            log = folder / f"{function}-{number}.log"
            running.enter_context(_process(command, code, lambdas, log))
        yield api


@contextmanager
def under_lambdas_runtime(code: Path, on_board: Path, environment: Mapping[str, str], folder: Path) -> Iterator[Invoke]:
    """Run a container of each function that is called, when it is first called."""
    with ExitStack() as running:
        apis: dict[str, RuntimeApi] = {}

        def invoke(function: str, event: Any) -> Any:
            if function not in apis:
                ways = containers(function, 1, code, on_board, environment, folder)
                apis[function] = running.enter_context(ways)
            return apis[function].invoke(event)

        yield invoke
