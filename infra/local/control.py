"""Controls the parts of a running stack, over a socket in its folder that only its owner can use.

It is one line of JSON per connection in each direction. A request is answered as soon as it is begun; the status shows
its progress. The stack polls the socket ten times a second, takes a few requests each time, and gives each a second.
"""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.host.unix_sockets import connect, listen
from infra.local.supervisor import NoSuchPartError, PartStatus, State, Supervisor

SOCKET = "control.sock"
_REQUEST_BYTES = 4_096
_REQUEST_SECONDS = 1.0
_REQUESTS_A_POLL = 8
_ANSWER_SECONDS = 30.0  # the stack may be waiting for a part that does not answer its readiness check
_POLL_SECONDS = 0.1

ACTIONS: Mapping[str, Callable[[Supervisor, str], None]] = {
    "stop": Supervisor.stop_part,
    "kill": Supervisor.kill_part,
    "restart": Supervisor.restart_part,
    "pause": Supervisor.pause_part,
    "resume": Supervisor.resume_part,
}


class ControlError(Exception):
    """A request that failed; says why."""


class ControlSocket:
    """The stack's end of the socket."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._path = folder / SOCKET
        self._listening = listen(self._path)
        self._listening.setblocking(False)

    def poll(self) -> None:
        """Answer waiting requests; called by the thread that owns the supervisor."""
        for _ in range(_REQUESTS_A_POLL):
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_REQUEST_SECONDS)
                connection.sendall(json.dumps(self._answer(_read_line(connection))).encode() + b"\n")

    def close(self) -> None:
        """Accept no more requests."""
        self._listening.close()
        self._path.unlink(missing_ok=True)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            what, name = request["do"], request.get("name", "")
            if what != "status":
                ACTIONS[what](self._supervisor, str(name))
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"error": "not a request"}
        except NoSuchPartError as error:
            return {"error": str(error)}
        return {
            "parts": [
                {"name": part.name, "state": part.state, "pid": part.pid, "detail": part.detail}
                for part in self._supervisor.status()
            ]
        }


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    deadline = time.monotonic() + _REQUEST_SECONDS
    while not line.endswith(b"\n") and len(line) <= _REQUEST_BYTES and time.monotonic() < deadline:
        received = connection.recv(_REQUEST_BYTES)
        if not received:
            break
        line += received
    return line


def ask(folder: Path, what: str, name: str = "") -> list[PartStatus]:
    """Tell the stack in `folder` what to do with a part (or `status`); return its parts. Raises ControlError."""
    try:
        with connect(folder.resolve() / SOCKET, _ANSWER_SECONDS) as connection:
            connection.sendall(json.dumps({"do": what, "name": name}).encode() + b"\n")
            with connection.makefile("rb") as answered:
                answer = json.loads(answered.readline())
    except FileNotFoundError:
        raise ControlError(f"no stack runs in {folder}") from None
    except (OSError, ValueError) as error:
        raise ControlError(f"the stack in {folder} does not answer: {error}") from error
    if "error" in answer:
        raise ControlError(answer["error"])
    return [PartStatus(part["name"], State(part["state"]), part["pid"], part["detail"]) for part in answer["parts"]]


def wait_for(folder: Path, name: str, state: State, seconds: float) -> PartStatus:
    """Return once a part is in a state; raises ControlError if it takes too long or the part has died."""
    deadline = time.monotonic() + seconds
    while True:
        part = next(part for part in ask(folder, "status") if part.name == name)
        if part.state is state:
            return part
        if part.state is State.DEAD:
            raise ControlError(f"{name} has died: {part.detail}")
        if time.monotonic() > deadline:
            raise ControlError(f"{name} is still {part.state} after {seconds:g} s: {part.detail or 'no reason given'}")
        time.sleep(_POLL_SECONDS)
