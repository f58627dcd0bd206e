"""The folder of a stack: one at a time, private, with a memory for ports."""

import contextlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra.host import ports
from infra.host.ports import PortTakenError, claim, free_port, is_free, reserve
from infra.local.folder import FolderInUseError, StackFolder, write_privately


def test_one_stack_at_a_time_holds_the_folder(tmp_path: Path) -> None:
    folder = StackFolder(tmp_path)
    with folder.locked(), pytest.raises(FolderInUseError, match="in use by the stack"), folder.locked():
        pass
    with folder.locked():
        pass


def test_the_folder_of_a_killed_stack_is_free_once_its_last_part_has_gone(tmp_path: Path) -> None:
    """The parts inherit the lock; a stack that finds it held by a dead one waits for them."""
    folder = StackFolder(tmp_path)
    with contextlib.ExitStack() as lock:
        descriptor = lock.enter_context(folder.locked())
        part = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    (tmp_path / "lock").write_text(str(_pid_of_the_past()))
    waited = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        part.communicate(b"\n")

    with folder.locked(pause):
        assert len(waited) == 1


def _pid_of_the_past() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    secret = StackFolder(tmp_path).secret()
    assert StackFolder(tmp_path).secret() == secret
    assert len(secret) >= 48
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize(("there", "then"), [(0o755, 0o700), (0o777, 0o700), (0o700, 0o700), (0o1777, 0o1777)])
def test_a_folder_that_was_there_is_closed_to_others_unless_it_is_everybodys(
    tmp_path: Path, there: int, then: int
) -> None:
    tmp_path.chmod(there)
    StackFolder(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == then


def test_two_folders_have_two_secrets(tmp_path: Path) -> None:
    assert StackFolder(tmp_path / "a").secret() != StackFolder(tmp_path / "b").secret()


def test_a_part_keeps_its_port_until_another_program_takes_it(tmp_path: Path) -> None:
    port = StackFolder(tmp_path).port_of("mongod")
    assert StackFolder(tmp_path).port_of("mongod") == port
    with contextlib.closing(reserve(port)):
        other = StackFolder(tmp_path).port_of("mongod")
    assert other != port
    assert StackFolder(tmp_path).port_of("mongod") == other


def test_a_port_can_be_kept_by_one_only() -> None:
    keeper = reserve(0)
    port = keeper.getsockname()[1]
    with contextlib.closing(keeper):
        assert not is_free(port)
        with pytest.raises(PortTakenError, match=f"port {port} .* is taken by another program"):
            reserve(port)
    assert is_free(port)


def test_parts_that_have_not_started_yet_get_ports_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens on a port between its choice and its use, in this stack or in another one."""
    first = free_port()
    beside = subprocess.run(
        [sys.executable, "-c", f"from infra.host.ports import claim; print(claim({first}), claim({first}, 'redis'))"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert beside.stdout == "False False\n"
    monkeypatch.setattr(ports, "_FREE_PORTS", [first, free_port(), port_to_be := free_port()])
    os.close(ports._claims.pop(port_to_be).descriptor)
    folder = StackFolder(tmp_path)
    assert folder.port_of("mongod") == folder.port_of("mongod") == port_to_be
    with pytest.raises(OSError, match="no free port"):
        folder.port_of("redis")


def test_two_parts_that_remember_one_port_get_two(tmp_path: Path) -> None:
    folder = StackFolder(tmp_path)
    write_privately(tmp_path / "ports.json", {"mongod": (port := folder.port_of("mongod")), "redis": port})
    assert folder.port_of("mongod") == port
    assert folder.port_of("redis") != port


def test_the_oldest_claims_of_a_process_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MOST_CLAIMS", 3)
    monkeypatch.setattr(ports, "_claims", {})  # the oldest of this process may be that of a server which listens
    chosen = [free_port() for _ in range(4)]
    assert list(ports._claims) == chosen[-3:]
    assert claim(chosen[0])


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    write_privately(file, {"a": 1})
    write_privately(file, {"a": 2})
    assert json.loads(file.read_text()) == {"a": 2}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_claim_is_gone_with_the_process_that_made_it() -> None:
    code = "from infra.host.ports import free_port; print(free_port('another'))"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    port = int(done.stdout)
    assert claim(port)
    os.close(ports._claims.pop(port).descriptor)
