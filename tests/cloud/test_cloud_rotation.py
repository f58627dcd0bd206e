"""Secrets that are rotated while containers run: a login that is refused has them read once more."""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from pymongo import MongoClient
from redis import Redis

from infra.cloud.artifact import Artifact
from infra.cloud.containers import containers
from infra.cloud.runtime_api import Routes, RuntimeApi
from infra.host.binaries import find_mongod
from infra.host.ports import HOST, free_port
from infra.local import process as parts
from infra.local.process import Part
from infra.local.services.mongo import why_no_answer
from infra.local.services.redis_server import redis_part
from infra.tokens import trader_token
from tests.cloud.conftest import CREDENTIALS, SECRET

NEW_SECRET = "the secret that comes after it, of 32 bytes or more"
ADD = "/users/jane/add"
Users = MongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def guarded_mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Users, str]]:
    """Return a client that may make users, and `host:port` of a mongod that asks for a login."""
    folder, port = tmp_path_factory.mktemp("guarded"), free_port()
    (folder / "data").mkdir()
    command = [str(find_mongod().path), "--auth", "--bind_ip", HOST, "--port", str(port)]
    command += ["--dbpath", str(folder / "data"), "--wiredTigerCacheSizeGB", "0.25"]
    process = parts.start(Part("mongod", command, os.environ, partial(why_no_answer, port)), folder)
    try:
        process.wait_until_ready()
        with MongoClient[dict[str, Any]](f"mongodb://{HOST}:{port}/") as first:
            first["admin"].command("createUser", "root", pwd="root", roles=["root"])
        with MongoClient[dict[str, Any]](f"mongodb://root:root@{HOST}:{port}/") as root:
            yield root, f"{HOST}:{port}"
    finally:
        process.kill()
        shutil.rmtree(folder)


class Container:
    """A container whose settings are in a secret, and the secret."""

    def __init__(self, hold: Callable[[str], object], routes: Routes) -> None:
        self._hold = hold
        self._routes = routes
        self._held: dict[str, str] = {}
        self.api: RuntimeApi | None = None

    def hold(self, **settings: str) -> None:
        """Change what the secret holds."""
        self._held |= settings
        self._hold(json.dumps(self._held))

    def __call__(self, path: str, secret: str = SECRET, key: str | None = None) -> tuple[int, Any]:
        """Give a command, or with a path of its own ask for something; return the status and the answer."""
        headers = {"Authorization": f"Bearer {trader_token(secret, 'jane')}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        body = b'{"amount": "1.00"}' if path == ADD else b""
        assert self.api is not None
        answer = self.api.invoke(self._routes.event("POST" if path == ADD else "GET", path, headers, body))
        return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture
def user(guarded_mongo: tuple[Users, str], mongo_database: str) -> Callable[[str], str]:
    """Return what makes a user of the test's database, and returns the address with its login."""
    root, place = guarded_mongo

    def make(name: str, known_by: str = "one") -> str:
        command = "updateUser" if root["admin"].command("usersInfo", name)["users"] else "createUser"
        roles = [{"role": "readWrite", "db": mongo_database}]
        root["admin"].command(command, name, pwd=known_by, roles=roles)
        return f"mongodb://{name}:{known_by}@{place}/"

    return make


@pytest.fixture
def start(
    code: Path, on_board: Path, function_environment: dict[str, str], artifact: Artifact, aws: str, tmp_path: Path
) -> Iterator[Callable[..., Container]]:
    """Return what starts a container whose secret holds some settings."""
    secrets = boto3.client("secretsmanager", endpoint_url=aws, region_name="us-east-1", **CREDENTIALS)
    routes = Routes(json.loads(artifact.template.read_text()))
    with ExitStack() as running:

        def run(**settings: str) -> Container:
            name = f"day-trading/{uuid.uuid4().hex}"
            secrets.create_secret(Name=name, SecretString="{}")
            made = Container(lambda held: secrets.put_secret_value(SecretId=name, SecretString=held), routes)
            given = {"SECRET_IDS": name, "MONGO_TIMEOUT_MS": "1000", "COMMAND_TIMEOUT_MS": "10000"}
            first = {name: function_environment[name] for name in ("MONGO_URI", "AUTH_SECRET", "REDIS_URL")}
            made.hold(**{**first, **settings})
            environment = {**function_environment, **given}
            made.api = running.enter_context(containers("app.app", 1, code, on_board, environment, tmp_path))
            return made

        yield run
    secrets.close()


def test_a_user_of_the_database_is_replaced_under_a_container(
    start: Callable[..., Container], user: Callable[..., str], guarded_mongo: tuple[Users, str]
) -> None:
    """The way of two users: the second is put into the secret, the first removed. No keyed command fails."""
    called = start(MONGO_URI=user("first"))
    assert called(ADD, key="a")[1]["cash"] == "1.00"
    called.hold(MONGO_URI=user("second"))
    guarded_mongo[0]["admin"].command("dropUser", "first")
    assert called(ADD, key="b") == (200, {**called(ADD, key="b")[1], "cash": "2.00"})
    assert called("/health") == (200, {"status": "ok"})


def test_a_password_that_has_changed_before_the_first_connection_is_read_again(
    start: Callable[..., Container], user: Callable[..., str]
) -> None:
    called = start(MONGO_URI=user("changing"))
    assert called("/openapi.json")[0] == 200  # it has read its secret, and has asked the database nothing
    called.hold(MONGO_URI=user("changing", "two"))
    assert called("/users/jane/account")[0] == 200


def test_without_a_key_a_command_is_not_given_twice_and_the_next_one_is_taken(
    start: Callable[..., Container], user: Callable[..., str], guarded_mongo: tuple[Users, str]
) -> None:
    called = start(MONGO_URI=user("third"))
    assert called(ADD)[0] == 200
    called.hold(MONGO_URI=user("fourth"))
    guarded_mongo[0]["admin"].command("dropUser", "third")
    status, problem = called(ADD)
    assert (status, problem["code"]) == (503, "store_unavailable")
    assert "the database refuses this server's login" in problem["detail"]
    assert called(ADD)[1]["cash"] == "2.00"


def test_a_login_that_is_wrong_in_the_secret_too_is_said_without_what_is_in_it(
    start: Callable[..., Container], user: Callable[..., str], tmp_path: Path
) -> None:
    called = start(MONGO_URI=user("fifth"))
    user("fifth", "changed")
    status, problem = called("/health")
    assert (status, "refuses this server's login" in problem["detail"]) == (503, True)
    status, problem = called(ADD, key="c")
    assert (status, problem["code"]) == (503, "store_unavailable")
    logged = "".join(path.read_text() for path in tmp_path.glob("app-*.log"))
    assert "refuses this server's login" in logged
    assert "fifth:one" not in logged


def test_the_password_of_the_cache_is_read_again(start: Callable[..., Container], tmp_path: Path) -> None:
    port = free_port()
    process = parts.start(redis_part(tmp_path / "redis", port, os.environ, memory_mb=64), tmp_path)
    try:
        process.wait_until_ready()
        with Redis(HOST, port) as cache:
            cache.config_set("requirepass", "one")
            called = start(REDIS_URL=f"redis://:one@{HOST}:{port}/0")
            assert called("/health") == (200, {"status": "ok"})
            cache.config_set("requirepass", "two")
            called.hold(REDIS_URL=f"redis://:two@{HOST}:{port}/0")
            cache.client_kill_filter(_type="normal", skipme=True)
            called("/health")  # finds the connection closed
            assert called("/health") == (200, {"status": "ok"})
    finally:
        process.kill()


def test_tokens_of_a_new_secret_are_taken_by_containers_that_do_not_know_it_and_old_ones_until_it_is_gone(
    start: Callable[..., Container],
) -> None:
    called = start()
    assert called(ADD)[0] == 200
    called.hold(AUTH_SECRET=NEW_SECRET, AUTH_SECRET_PREVIOUS=SECRET)
    assert called(ADD)[0] == 200
    assert called(ADD, NEW_SECRET)[1]["cash"] == "3.00"
    assert called(ADD)[0] == 200
    assert called(ADD, "a secret that nobody has ever put anywhere")[0] == 401
