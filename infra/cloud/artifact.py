"""What goes to the cloud: Chalice's package, finished with the bytecode of what a start imports.

Lambda's copy of a package cannot be written to, so nothing that a container compiles is kept: each cold start compiles
some 400 modules again, which takes longer than everything else in it. Chalice's package has no bytecode of its own
making, and `chalice deploy` leaves it so; `package` adds it for the modules that a start needs, and only for those,
because the bytecode of everything would make the package larger by half.

The same sources give the same bytes: what has not changed is not deployed again.
"""

import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from infra.local.stack import PROJECT

RESOURCES = Path(__file__).with_name("resources.yaml")
CODE = "deployment.zip"
TEMPLATE = "sam.json"
TASK_ROOT = "/var/task"
_SOURCES = ("app.py", "chalicelib", "requirements.txt", ".chalice/config.json", ".chalice/policy.json")
_DAY_ONE = (1980, 1, 1, 0, 0, 0)
_OF_A_START = """
import sys
sys.path.insert(0, sys.argv[1])
import app
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or "")
"""


class PackageError(Exception):
    """Chalice could not package the app; says what it said."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished package: the zip of the functions' code and the template beside it."""

    code: Path
    template: Path


def package(folder: Path, stage: str, *, resources: Path | None = RESOURCES, ca_file: Path | None = None) -> Artifact:
    """Package the app into `folder`, its template merged with `resources`; raises PackageError.

    `ca_file` becomes `ca.pem` beside the code: authorities to trust that the system of a function does not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        project, made, code = Path(place, "project"), Path(place, "made"), Path(place, "code")
        copy_sources(project)
        _run_chalice(project, made, stage, resources)
        with zipfile.ZipFile(made / CODE) as archive:
            archive.extractall(code)
        if ca_file is not None:
            shutil.copyfile(ca_file, code / "ca.pem")
        _compile_what_a_start_needs(code)
        _write_zip(code, folder / CODE)
        template = folder / TEMPLATE
        template.write_text(json.dumps(_template_of(made), indent=1, sort_keys=True) + "\n")
    return Artifact(folder / CODE, template)


def copy_sources(folder: Path) -> None:
    """Copy what Chalice packages, and nothing that running the project has left beside it."""
    for name in _SOURCES:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)


def chalice_environment() -> dict[str, str]:
    """Return the environment in which Chalice imports the app: not that of a function, and leaving no bytecode."""
    environment = {name: value for name, value in os.environ.items() if name != "AWS_LAMBDA_FUNCTION_NAME"}
    return {"AWS_DEFAULT_REGION": "us-east-1", **environment, "PYTHONDONTWRITEBYTECODE": "1"}


def chalice_command() -> str:
    """Return the path of the command that is installed beside this Python."""
    return str(Path(sys.executable).with_name("chalice"))


def _run_chalice(project: Path, made: Path, stage: str, resources: Path | None) -> None:
    command = [chalice_command(), "package", "--stage", stage]
    if resources is not None:
        command += ["--merge-template", str(resources.resolve())]
    done = subprocess.run(
        [*command, str(made)], cwd=project, env=chalice_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PackageError(f"chalice package failed:\n{done.stdout}{done.stderr}".rstrip())


def _template_of(made: Path) -> Any:
    """Return Chalice's template: a file of YAML when what it was merged with is, of JSON otherwise."""
    path = next(path for path in (made / "sam.yaml", made / TEMPLATE) if path.exists())
    return yaml.safe_load(path.read_text())  # JSON is YAML too


def _compile_what_a_start_needs(code: Path) -> None:
    for cache in list(code.rglob("__pycache__")):
        shutil.rmtree(cache)
    listed = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", _OF_A_START, str(code)], capture_output=True, text=True, check=True
    )
    found = {Path(line) for line in listed.stdout.splitlines() if line.endswith(".py")}
    found |= set((code / "chalicelib").rglob("*.py"))
    for path in sorted(found):
        if path.is_relative_to(code):
            py_compile.compile(
                str(path),
                cfile=importlib.util.cache_from_source(path),
                dfile=f"{TASK_ROOT}/{path.relative_to(code)}",
                doraise=True,
                # Dates do not survive a zip, and nobody edits what is deployed.
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _write_zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in _files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DAY_ONE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if path.suffix == ".so" else 0o644) << 16
            archive.writestr(entry, path.read_bytes())
