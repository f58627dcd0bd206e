"""What is installed where: groups and locks agree, and the load generator needs as little as it says."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import loadgen
from hatch_build import requirements

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "app": "requirements.txt",
    "server": "requirements-server.txt",
    "stack": "requirements-stack.txt",
    "observing": "requirements-observing.txt",
    "dev": "requirements-dev.txt",
}


def locked(group: str) -> dict[str, str]:
    """Return the versions that the lock of a group pins, by canonical name; every one of them must have hashes."""
    found = {}
    for entry in re.split(r"\n(?=[a-z])", (ROOT / LOCKS[group]).read_text()):
        match = re.match(r"([\w.-]+)==([^\s;]+)", entry)
        if match is not None:
            assert "--hash=sha256:" in entry, f"{match[0]} has no hash in {LOCKS[group]}"
            found[canonical(match[1])] = match[2]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("group", LOCKS)
def test_the_lock_of_a_group_has_what_the_group_pins(group: str) -> None:
    pins = {}
    for pin in requirements(PROJECT["dependency-groups"], group):
        match = re.fullmatch(r"([\w.-]+)(\[.*\])?==([^\s;]+)( ;.*)?", pin)
        assert match is not None, f"{pin} is not pinned"
        pins[match[1]] = match[3]
    versions = locked(group)
    assert {name: versions.get(canonical(name)) for name in pins} == pins, "make lock"


@pytest.mark.parametrize("group", ["app", "server", "stack", "observing"])
def test_the_locks_pin_the_same_versions(group: str) -> None:
    assert locked(group).items() <= locked("dev").items(), "make lock"


def test_an_installation_is_the_load_generator_and_nothing_of_this_system(tmp_path: Path) -> None:
    """Built as `pip install .` builds it: one package, its command, and three needs beside an extra."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        metadata = archive.read(f"{info}/METADATA").decode()
        commands = archive.read(f"{info}/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"loadgen", info}
    assert any(name.startswith(f"{info}/licenses/LICENSE") for name in names)
    needs = re.findall(r"^Requires-Dist: ([\w-]+)", metadata, re.MULTILINE)
    traces = ["opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk"]
    assert sorted(needs) == ["hdrhistogram", "jinja2", "locust", *traces, "rich"]
    assert "Requires-Dist: locust<3,>=2.40; extra == 'locust'" in metadata
    assert f"Version: {loadgen.__version__}\n" in metadata
    assert "loadgen = loadgen.cli:main" in commands


def test_an_editable_installation_brings_what_the_stack_needs(tmp_path: Path) -> None:
    code = (
        "import sys; from hatchling.build import build_editable; "
        f"print(build_editable({str(tmp_path)!r}), file=sys.stderr)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    needs = {canonical(name) for name in re.findall(r"^Requires-Dist: ([\w.-]+)", metadata, re.MULTILINE)}
    groups = PROJECT["dependency-groups"]
    assert {canonical(re.split(r"[=\[]", pin)[0]) for pin in requirements(groups, "stack")} <= needs
    assert "pytest" not in needs
