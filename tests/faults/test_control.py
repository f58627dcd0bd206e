"""A running stack that is told what to do with its parts, without any real server."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.host import binaries
from infra.host.binaries import BinaryMissingError, find_haproxy
from infra.host.unix_sockets import connect
from infra.local import control
from infra.local.control import ControlSocket
from infra.local.process import Part, PartDiedError
from infra.local.services.haproxy import ProxiedServer, configuration
from infra.local.supervisor import PartStatus, State, StopRequestedError, StopSignals, Supervisor

SECONDS = 30.0
WAIT = "import signal; signal.pause()"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with StopSignals() as signals:
        supervisor = Supervisor(tmp_path, signals)
        yield supervisor
        supervisor.stop()


def part(name: str, code: str = WAIT, group: str | None = None, left: Callable[[], str | None] | None = None) -> Part:
    return Part(name, [sys.executable, "-c", code], os.environ, lambda: None, group=group, why_not_left=left)


def watch_until(supervisor: Supervisor, name: str, state: State) -> PartStatus:
    """Let the supervisor work until a part has a state."""
    deadline = time.monotonic() + SECONDS

    def look() -> None:
        assert time.monotonic() < deadline
        if status(supervisor, name).state is state:
            raise StopRequestedError

    with pytest.raises(StopRequestedError):
        supervisor.watch(look)
    return status(supervisor, name)


def status(supervisor: Supervisor, name: str) -> PartStatus:
    return next(part for part in supervisor.status() if part.name == name)


def test_a_part_that_is_killed_on_purpose_is_survived_and_can_be_started_again(supervisor: Supervisor) -> None:
    supervisor.start(part("one"))
    first = supervisor.pids["one"]
    supervisor.kill_part("one")
    assert status(supervisor, "one") == PartStatus("one", State.STOPPED, None, "killed by SIGKILL")
    assert not psutil.pid_exists(first)
    supervisor.restart_part("one")
    watch_until(supervisor, "one", State.RUNNING)
    assert supervisor.pids["one"] != first


def test_a_part_that_is_stopped_in_order_ends_by_itself(supervisor: Supervisor) -> None:
    supervisor.start(part("one"))
    supervisor.stop_part("one")
    assert watch_until(supervisor, "one", State.STOPPED).detail == "killed by SIGTERM"


def test_a_part_gets_no_new_work_before_it_is_asked_to_stop(supervisor: Supervisor) -> None:
    under_way = ["two requests", "one request"]
    asked: list[str | None] = []

    def why_not_left() -> str | None:
        asked.append(under_way.pop(0) if under_way else None)
        return asked[-1]

    supervisor.start(part("server", left=why_not_left))
    supervisor.stop_part("server")
    assert status(supervisor, "server").state is State.LEAVING
    watch_until(supervisor, "server", State.STOPPED)
    assert asked == ["two requests", "one request", None]


def test_a_restart_of_a_part_that_runs_stops_it_first(supervisor: Supervisor) -> None:
    supervisor.start(part("one"))
    first = supervisor.pids["one"]
    supervisor.restart_part("one")
    assert status(supervisor, "one").state is State.STOPPING
    watch_until(supervisor, "one", State.RUNNING)
    assert supervisor.pids["one"] != first
    assert not psutil.pid_exists(first)


def test_one_of_a_group_that_dies_is_reported_and_the_rest_goes_on(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.start(part("one", "print('my last words'); raise SystemExit(7)", group="servers"))
    supervisor.start(part("other", group="servers"))
    assert watch_until(supervisor, "one", State.DEAD).detail == "exit status 7"
    said = capsys.readouterr().err
    assert "one died (exit status 7); the stack goes on without it" in said
    assert "| my last words" in said
    assert list(supervisor.pids) == ["other"]


def test_the_last_of_a_group_that_dies_ends_the_stack(supervisor: Supervisor) -> None:
    supervisor.start(part("one", group="servers"))
    supervisor.start(part("other", group="servers"))
    supervisor.kill_part("one")
    os.kill(supervisor.pids["other"], 9)
    with pytest.raises(PartDiedError, match=r"other died \(killed by SIGKILL\)"):
        supervisor.watch()


def test_a_paused_part_stands_still_until_it_is_resumed(supervisor: Supervisor) -> None:
    supervisor.start(part("one"))
    process = psutil.Process(supervisor.pids["one"])
    supervisor.pause_part("one")
    assert status(supervisor, "one").state is State.PAUSED
    assert process.status() == psutil.STATUS_STOPPED
    supervisor.resume_part("one")
    assert process.status() != psutil.STATUS_STOPPED


def test_a_paused_part_can_be_stopped(supervisor: Supervisor) -> None:
    supervisor.start(part("one"))
    supervisor.pause_part("one")
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10.0  # it had 20 s, and was not killed


def exchange(supervisor: Supervisor, folder: Path, sent: bytes) -> bytes:
    """Send raw bytes to the stack and let it poll once."""
    control_socket = ControlSocket(folder, supervisor)
    try:
        with connect(folder / control.SOCKET, SECONDS) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            control_socket.poll()
            return connection.recv(65_536)
    finally:
        control_socket.close()


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"\n", b"kill it\n", b"[]\n", b'{"do": "dance"}\n', b'{"name": "one"}\n', b"7\n", b"x" * 100_000, b"\xff\n"],
)
def test_nonsense_is_answered_and_changes_nothing(supervisor: Supervisor, tmp_path: Path, nonsense: bytes) -> None:
    supervisor.start(part("one"))
    before = supervisor.status()
    assert exchange(supervisor, tmp_path, nonsense) == b'{"error": "not a request"}\n'
    assert supervisor.status() == before


def test_a_request_for_a_part_that_is_not_there_names_those_that_are(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(part("one"))
    answer = exchange(supervisor, tmp_path, b'{"do": "kill", "name": "two"}\n')
    assert answer == b'{"error": "no part two: there are one"}\n'


def test_the_socket_is_for_its_owner_only_and_works_in_deep_folders(supervisor: Supervisor, tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    control_socket = ControlSocket(folder, supervisor)
    assert (folder / control.SOCKET).stat().st_mode & 0o777 == 0o600
    control_socket.close()
    assert not (folder / control.SOCKET).exists()


def test_without_a_stack_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(control.ControlError, match=f"no stack runs in {tmp_path}"):
        control.ask(tmp_path, "status")


def test_a_missing_haproxy_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(binaries, "ADMINISTRATORS_PATH", "/nowhere")
    with pytest.raises(BinaryMissingError, match=r"no usable haproxy found: .* package \(apt-get install haproxy\)"):
        find_haproxy()


def test_the_proxy_sends_a_request_again_only_where_that_is_safe() -> None:
    text = configuration(1, 2, [ProxiedServer("gateway-1", 3), ProxiedServer("gateway-2", 4)], "user")
    assert "retry-on conn-failure empty-response\n" in text
    backends = {part.split("\n")[0]: part for part in text.split("\nbackend ") if "server gateway-1" in part}
    assert "use_backend metrics if { path /metrics }" in text
    assert backends.pop("metrics"), "which changes nothing, so may be asked for again"
    assert sorted(backends) == ["servers", "servers_anyway"]
    for backend in backends.values():
        assert "disable-l7-retry unless { req.hdr(idempotency-key) -m found }" in backend
        assert "server gateway-1 127.0.0.1:3 check\n    server gateway-2 127.0.0.1:4 check\n" in backend
