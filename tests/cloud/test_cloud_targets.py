"""The artifact for each architecture and for the oldest and the newest runtime: its files, its size, its bytecode."""

import json
import struct
import zipfile
from pathlib import Path

import pytest

from infra.cloud.artifact import RUNTIMES, Artifact, LambdaTarget, PackageError, find_python, package

MOST_BYTES = 10_000_000
MACHINES = {"x86_64": 0x3E, "arm64": 0xB7}
"""What an ELF file says it is for."""

MAGIC = {"python3.11": 3495, "python3.12": 3531, "python3.13": 3571}
"""What bytecode begins with: CPython's Include/internal/pycore_magic_number.h has the history."""

TARGETS = [LambdaTarget(runtime, architecture) for runtime in (RUNTIMES[0], RUNTIMES[-1]) for architecture in MACHINES]


@pytest.fixture(scope="module", params=TARGETS, ids=lambda target: f"{target.runtime}-{target.architecture}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[LambdaTarget, Artifact]:
    """Return a target and the artifact for it, made on this machine."""
    target: LambdaTarget = request.param
    try:
        find_python(target.version)
    except PackageError as missing:
        pytest.skip(str(missing))
    return target, package(tmp_path_factory.mktemp("target"), "prod", target=target)


def test_the_artifact_is_small_and_has_all_that_it_needs(made: tuple[LambdaTarget, Artifact]) -> None:
    _, artifact = made
    assert artifact.code.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(artifact.code) as archive:
        names = set(archive.namelist())
    assert {"app.py", "chalicelib/runtime.py", "chalicelib/web/index.html", "chalicelib/web/LICENCES.txt"} <= names
    assert {"chalice", "pymongo", "bson", "redis", "jwt", "cryptography"} <= {name.partition("/")[0] for name in names}
    assert not [name for name in names if name.startswith(("boto", "bin/", "infra/", "tests/", "."))]


def test_what_is_compiled_by_others_is_for_the_architecture_and_the_runtime(
    made: tuple[LambdaTarget, Artifact],
) -> None:
    target, artifact = made
    with zipfile.ZipFile(artifact.code) as archive:
        libraries = {name: archive.read(name)[:20] for name in archive.namelist() if name.endswith(".so")}
    assert len(libraries) > 3
    assert {struct.unpack("<H", head[18:20])[0] for head in libraries.values()} == {MACHINES[target.architecture]}
    versions = {name.partition(".cpython-")[2][:3] for name in libraries if ".cpython-" in name}
    assert versions == {target.version.replace(".", "")}


def test_bytecode_is_of_the_runtime(made: tuple[LambdaTarget, Artifact]) -> None:
    target, artifact = made
    with zipfile.ZipFile(artifact.code) as archive:
        compiled = {name: archive.read(name)[:4] for name in archive.namelist() if name.endswith(".pyc")}
    assert len(compiled) > 200
    assert {f"cpython-{target.version.replace('.', '')}.pyc"} == {Path(name).name.split(".", 1)[1] for name in compiled}
    assert {struct.unpack("<H", head[:2])[0] for head in compiled.values()} == {MAGIC[target.runtime]}


def test_the_template_names_the_runtime_and_the_architecture(made: tuple[LambdaTarget, Artifact]) -> None:
    target, artifact = made
    resources = json.loads(artifact.template.read_text())["Resources"].values()
    functions = [found["Properties"] for found in resources if found["Type"] == "AWS::Serverless::Function"]
    assert len(functions) == 4
    assert {(function["Runtime"], *function["Architectures"]) for function in functions} == {
        (target.runtime, target.architecture)
    }
