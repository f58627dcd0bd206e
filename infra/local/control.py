"""A running stack, told what to do with one of its parts: over a socket in its folder that only its owner can use.

One line of JSON a connection in each direction. A wish is answered as soon as it is begun; how it goes on is seen in
the status. The stack looks for wishes ten times a second, a few at each look, and gives each a second to be said.
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
_WISH_BYTES = 4_096
_WISH_SECONDS = 1.0
_WISHES_A_LOOK = 8
_ANSWER_SECONDS = 30.0  # the stack may be asking a part that does not answer whether it is ready
_POLL_SECONDS = 0.1

WISHES: Mapping[str, Callable[[Supervisor, str], None]] = {
    "stop": Supervisor.stop_part,
    "kill": Supervisor.kill_part,
    "restart": Supervisor.restart_part,
    "pause": Supervisor.pause_part,
    "resume": Supervisor.resume_part,
}


class ControlError(Exception):
    """A wish that was not fulfilled; says why."""


class ControlSocket:
    """The stack's end."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._path = folder / SOCKET
        self._listening = listen(self._path)
        self._listening.setblocking(False)

    def look(self) -> None:
        """Answer who is waiting; called by the thread that owns the supervisor."""
        for _ in range(_WISHES_A_LOOK):
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_WISH_SECONDS)
                connection.sendall(json.dumps(self._answer(_read_line(connection))).encode() + b"\n")

    def close(self) -> None:
        """Take no more wishes."""
        self._listening.close()
        self._path.unlink(missing_ok=True)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            wish = json.loads(line)
            what, name = wish["do"], wish.get("name", "")
            if what != "status":
                WISHES[what](self._supervisor, str(name))
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"error": "not a wish"}
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
    deadline = time.monotonic() + _WISH_SECONDS
    while not line.endswith(b"\n") and len(line) <= _WISH_BYTES and time.monotonic() < deadline:
        received = connection.recv(_WISH_BYTES)
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
    """Return once a part has a state; raises ControlError when it takes longer, or the part has died."""
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
