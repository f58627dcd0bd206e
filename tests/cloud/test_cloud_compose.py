"""infra/compose.yaml and the Dockerfile, as far as they can be held against the real parts without a Docker engine."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from chalicelib.config.settings import read_settings
from infra.local.stack import PROJECT
from infra.servers.gateway import server

COMPOSE = PROJECT / "infra/compose.yaml"
DOCKERFILE = (PROJECT / "Dockerfile").read_text()


@pytest.fixture
def compose() -> Any:
    """Return the file as data."""
    return yaml.safe_load(COMPOSE.read_text())


def test_the_file_is_one_of_the_compose_specification() -> None:
    checker = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_compose_takes_the_file_where_there_is_one(compose: Any) -> None:
    """Without the client, what the specification's schema does not say: no name is used that is not there."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        environment = {"AUTH_SECRET": "0" * 32, "PATH": str(Path(docker).parent)}
        command = [docker, "compose", "-f", str(COMPOSE), "config", "--quiet"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    services = compose["services"]
    for service in services.values():
        assert "image" in service or (COMPOSE.parent / service["build"]["context"] / "Dockerfile").exists()
        assert set(service.get("depends_on", ())) <= set(services)
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(compose["volumes"])
        assert {config["source"] for config in service.get("configs", ())} <= set(compose["configs"])
        needed = service.get("depends_on", ())
        for name, how in needed.items() if isinstance(needed, dict) else ():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[name]


def test_the_servers_of_compose_are_given_settings_that_the_app_takes(compose: Any) -> None:
    given = {name: filled_in(value) for name, value in compose["services"]["app"]["environment"].items()}
    settings = read_settings(given)
    assert (settings.quote_source, settings.dump_place, settings.group_commit) == ("simulated:1", "/logs", 128)
    assert compose["services"]["ticker"]["environment"] == compose["services"]["app"]["environment"]


def filled_in(value: str) -> str:
    """Return a value as compose makes it when only AUTH_SECRET is set."""
    value = re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", value)
    return re.sub(r"\$\{AUTH_SECRET:\?[^}]*\}", "0" * 32, value)


def test_haproxy_takes_its_configuration_and_knows_every_server(
    compose: Any, tmp_path: Path, haproxy_program: str
) -> None:
    configuration = tmp_path / "haproxy.cfg"
    content = compose["configs"]["haproxy"]["content"]
    configuration.write_text(content)
    done = subprocess.run(
        [haproxy_program, "-c", "-f", str(configuration)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"server-template app {compose['services']['app']['deploy']['replicas']} app:8000" in content


def test_the_image_runs_the_gateway_on_the_port_that_it_names() -> None:
    found = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    python, flag, module, *arguments = json.loads(found[1])
    assert (python, flag, module) == ("python", "-m", "infra.servers.gateway")
    options = server._parse(arguments)
    assert (options.host, f"EXPOSE {options.port}" in DOCKERFILE) == ("0.0.0.0", True)  # noqa: S104


def test_the_image_has_every_package_that_its_programs_need() -> None:
    """They are loaded with the project's packages, less those that the image does not have."""
    kept = installed()
    owners = importlib.metadata.packages_distributions()
    missing = [name for name, of in owners.items() if not {canonical(owner) for owner in of} & kept]
    program = (
        "import sys\n"
        "class Image:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in sys.argv: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Image())\n"
        "import infra.servers.gateway.server, infra.servers.ticker, infra.tokens, app"
    )
    assert {"locust", "rich"} <= set(missing)
    done = subprocess.run(
        [sys.executable, "-c", program, *missing], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def installed() -> set[str]:
    """Return the packages of the image: all that it installs is named."""
    assert "--requirement requirements-server.txt" in DOCKERFILE
    named = re.findall(r"^([\w.-]+)==", (PROJECT / "requirements-server.txt").read_text(), re.MULTILINE)
    return {canonical(name) for name in named}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_docker_compose_up_finds_the_stack_from_the_projects_folder() -> None:
    (included,) = yaml.safe_load((PROJECT / "compose.yaml").read_text())["include"]
    assert PROJECT / included == COMPOSE


def test_a_token_of_the_containers_needs_nothing_but_their_secret(tmp_path: Path) -> None:
    """As `docker compose exec app python -m infra.tokens` runs: the secret is in the environment, no folder has one."""
    command = [sys.executable, "-m", "infra.tokens", "--operator", "--link", "http://127.0.0.1:8000"]
    environment = {"AUTH_SECRET": "s" * 32, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("http://127.0.0.1:8000/#token=")
