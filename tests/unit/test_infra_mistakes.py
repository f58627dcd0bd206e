"""Ordinary mistakes on the command line get a sentence that says what is wrong, and never a traceback."""

import errno
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra import tokens
from infra.faults import cli as faults
from infra.host import binaries
from infra.host.ports import free_port
from infra.local import cli as local
from infra.local import forget
from infra.local import replay as local_replay
from infra.local.arguments import parse
from infra.local.folder import StackFolder, write_privately
from infra.migrate import cli as migrate

ROOT = Path(__file__).parents[2]


def refused(main: object, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command line says of arguments that argparse refuses."""
    assert callable(main)
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("port", ["70000", "-1", "0", "http"])
def test_a_port_that_is_none_is_refused_with_what_a_port_is(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(local.main, "up", "--port", port, capsys=capsys)
    assert said.endswith(f"argument --port: takes a whole number, 1 to 65535, not '{port}'")


@pytest.mark.parametrize(
    "option",
    ["--workers=0", "--connections=-5", "--backlog=0", "--servers=17", "--mongo-cache-gb=0", "--mongo-oplog-mb=0"]
    + ["--redis-memory-mb=-1", "--quote-fail=2", "--quote-fail=nan", "--quote-delay=soon", "--trigger-seconds=-1"],
)
def test_a_size_that_is_none_is_refused_by_the_stack(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"argument {option.partition('=')[0]}: " in refused(local.main, "up", option, capsys=capsys)


@pytest.mark.parametrize(
    ("option", "owner"),
    [("--quote-delay=3", "--quote-source legacy"), ("--quote-fail=0", "--quote-source legacy")]
    + [("--quote-price=fixed:10.00", "--quote-source legacy"), ("--login-seconds=300", "--login")],
)
def test_an_option_without_the_one_it_is_for_is_refused(
    option: str, owner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(local.main, "up", option, capsys=capsys).endswith(f"{option.partition('=')[0]} is for {owner}")
    assert parse(["up", option, *owner.split()]).port


def test_workers_are_servers_and_without_haproxy_several_are_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse(["up", "--servers=2", "--workers=3"]).servers == 6
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(binaries, "ADMINISTRATORS_PATH", "/nowhere")
    assert local.main(["up", "--workers=2", "--data", str(tmp_path / "s"), "--port", str(free_port())]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "no usable haproxy found: several servers or workers need it; install the system's package "
        "(apt-get install haproxy)"
    )
    assert not list((tmp_path / "s").glob("logs/*"))


@pytest.mark.parametrize("option", ["--users=0", "--commands=-1", "--symbols=none", "--workers=0"])
def test_a_size_that_is_none_is_refused_by_the_replay(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "takes a whole number, 1 or more, not " in refused(local_replay.main, option, capsys=capsys)


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(forget.main, []), (local_replay.main, []), (faults.main, []), (migrate.main, []), (tokens.main, ["--operator"])]
    + [(local.main, [command]) for command in ("up", "status", "env")]
    + [(local.main, ["kill", "redis"]), (local.main, ["trace", "0" * 32])],
)
def test_an_empty_name_of_a_folder_is_not_the_current_one(
    main: object, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(main, *arguments, "--data", "", capsys=capsys)
    assert said.endswith("argument --data: takes the name of a folder, not ''")


@pytest.mark.parametrize(("given", "folder"), [(["DATA="], '""'), ([], '".data"')])
def test_make_forget_without_a_name_is_refused_too(given: list[str], folder: str) -> None:
    command = ["make", "--dry-run", "--no-print-directory", "forget", *given]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1].endswith(f"infra.local.forget --data {folder}")


@pytest.mark.parametrize("hours", ["-1", "0", "inf", "nan", "1e9", "a day"])
def test_a_token_for_no_time_at_all_is_refused(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(tokens.main, "--operator", f"--hours={hours}", capsys=capsys)
    assert "argument --hours: takes hours from" in said


def test_a_folder_for_data_that_is_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a file"
    file.write_text("")
    for data, said in ((file, "is a file, not a folder"), (file / "x", "a part of its path is a file")):
        assert local.main(["up", "--data", str(data)]) == 1
        assert said in capsys.readouterr().err
        assert local_replay.main(["--data", str(data)]) == 1
        assert said in capsys.readouterr().err
        assert tokens.main(["--operator", "--data", str(data)]) == 2
        assert "has no secret" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, who runs these tests in CI, may write everywhere
    assert local.main(["up", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path} cannot be written to\n"


def test_a_port_that_is_roots_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", bind)
    assert local.main(["up", "--port", "80", "--data", str(tmp_path)]) == 1
    assert "port 80 on 127.0.0.1 may be used by root only: choose one of 1024 or above" in capsys.readouterr().err


def test_the_settings_of_a_running_stack_can_be_evaluated_by_a_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StackFolder(tmp_path / "jane's data")
    facts = {"mongo_uri": "mongodb://h/?a=b&c=d", "mongo_database": "d", "redis_url": "redis://h", "quote_source": "x"}
    write_privately(folder.stack_file, facts)
    secret = folder.secret()
    assert local.main(["env", "--data", str(folder.path)]) == 0
    script = capsys.readouterr().out + 'printf "%s\n" "$MONGO_URI" "$AUTH_SECRET" "$DUMP_PLACE"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["mongodb://h/?a=b&c=d", secret, str(folder.path / "dumps")]


def test_without_a_running_stack_there_are_no_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert local.main(["env", "--data", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        f"no stack runs in {tmp_path}: start one, or name its folder with --data\n",
    )


def stack_in(path: Path) -> StackFolder:
    """Return the folder of a stack that has run, with data and a log."""
    folder = StackFolder(path)
    folder.secret()
    folder.port_of("redis")
    (path / "redis").mkdir()
    for file in ("mongod/storage.bson", "logs/gateway.log", "dumps/users/lock/jane.xml"):
        (path / file).parent.mkdir(parents=True)
        (path / file).write_text("")
    with folder.locked():
        return folder


def test_data_are_forgotten_but_not_under_a_running_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(forget, "PROJECT", tmp_path)
    data = tmp_path / ".data"
    for path in (data, data / "replay" / "stack", data / "faults" / "seed-7" / "stack"):
        folder = stack_in(path)
        with folder.locked():
            assert forget.main(["--data", str(data)]) == 1
            assert f"{folder.path} is in use by the stack with process id {os.getpid()}" in capsys.readouterr().err
            assert (folder.path / "mongod" / "storage.bson").exists()
    assert forget.main(["--data", str(data)]) == 0
    assert capsys.readouterr().out == f"removed {shlex.quote(str(data))}\n"
    assert not data.exists()
    assert forget.main(["--data", str(data)]) == 0


def test_only_what_a_stack_has_made_is_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = stack_in(tmp_path / "all data").path
    mine = [data / name for name in ("letter.txt", "logs/diary", "code/app/main.py", "dumps/db/x", "cloud/sam.json")]
    for file in mine:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "spans.jsonl").write_text("")
    (data / "traces").symlink_to(tmp_path / "elsewhere")
    (data / "code" / "gateway").symlink_to(ROOT)
    assert forget.main(["--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"removed the data in {shlex.quote(str(data))}",
        "left, because no stack has made them: cloud, code, dumps, letter.txt, logs, traces",
    ]
    assert sorted(path for path in data.rglob("*") if path.is_file()) == sorted(mine)
    assert (tmp_path / "elsewhere" / "spans.jsonl").exists()


@pytest.mark.parametrize("lock", ["lock", "checkout/.data/lock", "lock/lock"])
def test_a_folder_that_is_not_itself_a_stacks_is_not_removed(
    lock: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / lock).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / lock).write_text("")
    if lock.startswith("checkout"):
        stack_in(tmp_path / "checkout" / ".data")
    before = sorted(tmp_path.rglob("*"))
    assert forget.main(["--data", str(tmp_path)]) == 1
    assert "holds no data of a stack" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("reload", ["--autoreload", "--no-autoreload"])
def test_chalice_local_names_all_missing_settings_at_once_and_does_not_serve(reload: str) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    chalice = Path(sys.executable).with_name("chalice")
    done = subprocess.run(
        [sys.executable, chalice, "--project-dir", ".", "local", reload, "--stage", "local", "--port", "1"],
        cwd=ROOT,
        env={**environment, "LOG_LEVEL": "LOUD"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    named = [line.split()[1].rstrip(":") for line in done.stderr.splitlines() if line.startswith("setting ")]
    assert sorted(named) == ["AUTH_SECRET", "DUMP_PLACE", "LOG_LEVEL", "MONGO_URI", "QUOTE_SOURCE", "REDIS_URL"]
    assert 'eval "$(.venv/bin/python -m infra.local env)"' in done.stderr
    assert "Serving" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
