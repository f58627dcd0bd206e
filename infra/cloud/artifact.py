"""The deployment artifact: Chalice's package, completed with the wheels and bytecode for its runtime.

Chalice takes wheels for the Python it runs on. `package` takes them for the given runtime and architecture, so a Mac,
or a machine with another Python, makes the same artifact.

Lambda's copy of a package is read-only, so bytecode compiled in a container is lost: each cold start compiles some 400
modules again, which takes longer than everything else in it. Chalice's package has no bytecode, also with `chalice
deploy`; `package` adds it for the modules that a start needs, and only for those, because bytecode for everything would
make the package half as large again.

The same sources give the same bytes: what has not changed is not deployed again.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from infra.cloud.template import CORS_PLACEHOLDER, finish
from infra.local.stack import PROJECT

RESOURCES = Path(__file__).with_name("resources.yaml")
CODE = "deployment.zip"
TEMPLATE = "sam.json"
TASK_ROOT = "/var/task"
RUNTIMES = ("python3.11", "python3.12", "python3.13")
ARCHITECTURES = ("arm64", "x86_64")
_REQUIREMENTS = "requirements.txt"
_SOURCES = ("app.py", "chalicelib", _REQUIREMENTS, ".chalice/config.json", ".chalice/policy.json")
_DAY_ONE = (1980, 1, 1, 0, 0, 0)
_OF_A_START = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import app
for module in list(sys.modules.values()):
    file = Path(getattr(module, "__file__", None) or "/")
    for root in map(Path, sys.path):
        if file.suffix == ".py" and file.is_relative_to(root):
            print(file.relative_to(root))
"""
_COMPILE = """
import importlib.util, py_compile, sys
for name in sys.stdin.read().splitlines():
    py_compile.compile(
        name,
        cfile=importlib.util.cache_from_source(name),
        dfile=f"{sys.argv[1]}/{name}",
        doraise=True,
        # Dates do not survive a zip, and nobody edits what is deployed.
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
"""
"""In its own process: bytecode marks interned strings, and single-character strings are shared by a process, so earlier
imports would affect the artifact's bytes."""


@dataclass(frozen=True, slots=True)
class LambdaTarget:
    """The target of an artifact: a Lambda runtime and an architecture."""

    runtime: str = RUNTIMES[-1]
    architecture: str = ARCHITECTURES[0]

    @classmethod
    def here(cls) -> "LambdaTarget":
        """Return the target that this Python on this machine can run."""
        architecture = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
        return cls(f"python3.{sys.version_info.minor}", architecture)

    @property
    def version(self) -> str:
        """Return the version of Python, such as 3.13."""
        return self.runtime.removeprefix("python")

    @property
    def platform(self) -> str:
        """Return the platform of its wheels, in uv's terms: Amazon Linux 2 has glibc 2.26, Amazon Linux 2023 2.34."""
        machine = "aarch64" if self.architecture == "arm64" else "x86_64"
        return f"{machine}-manylinux2014" if self.version == "3.11" else f"{machine}-manylinux_2_28"


class PackageError(Exception):
    """Chalice could not package the app; has its message."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A complete package: the zip of the functions' code, and the template."""

    code: Path
    template: Path


def package(
    folder: Path,
    stage: str,
    *,
    target: LambdaTarget | None = None,
    resources: Path | None = RESOURCES,
    ca_file: Path | None = None,
    python: str | None = None,
) -> Artifact:
    """Package the app into `folder`, its template merged with `resources`; raises PackageError.

    `ca_file` becomes `ca.pem` beside the code: certificate authorities that a function's system does not know. `python`
    compiles the bytecode and must have the runtime's version; by default one is searched for.
    """
    target = target or LambdaTarget()
    compiler = python or find_python(target.version)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        project, made, code = Path(place, "project"), Path(place, "made"), Path(place, "code")
        copy_sources(project)
        (project / _REQUIREMENTS).write_text("")  # we install the wheels ourselves
        _run_chalice(project, made, stage, resources)
        with zipfile.ZipFile(made / CODE) as archive:
            archive.extractall(code)
        _install(target, code)
        if ca_file is not None:
            shutil.copyfile(ca_file, code / "ca.pem")
        _compile_what_a_start_needs(code, project, compiler)
        _write_zip(code, folder / CODE)
        template = folder / TEMPLATE
        finished = finish(_template_of(made), target.runtime, target.architecture)
        template.write_text(json.dumps(finished, indent=1, sort_keys=True) + "\n")
    return Artifact(folder / CODE, template)


def find_python(version: str) -> str:
    """Return a Python of that version, which compiles for the runtime; raises PackageError."""
    name = f"python{version}"
    own = Path.home().glob(f".pyenv/versions/{version}*/bin/{name}")
    for found in (sys.executable, shutil.which(name), *map(str, sorted(own))):
        if found is not None and _version_of(found) == version:
            return found
    raise PackageError(
        f"the bytecode for {name} needs a {name}, and there is none on PATH: install it, name it with --python,"
        f" or choose the runtime that is here (--runtime python3.{sys.version_info.minor})"
    )


def _version_of(python: str) -> str | None:
    told = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", told], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _install(target: LambdaTarget, code: Path) -> None:
    """Install a target's pinned wheels beside the code."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--target", str(code)]
    command += ["--python-version", target.version, "--python-platform", target.platform, "--only-binary", ":all:"]
    command += ["--link-mode", "copy", "--require-hashes", "--requirement", str(PROJECT / _REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"the wheels for {target.runtime} on {target.architecture}:\n{done.stderr}".rstrip())
    for useless in (code / "bin", code / ".lock"):
        if useless.is_dir():
            shutil.rmtree(useless)
        else:
            useless.unlink(missing_ok=True)


def copy_sources(folder: Path) -> None:
    """Copy what Chalice packages, without files that running the project has left."""
    for name in _SOURCES:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)


def chalice_environment() -> dict[str, str]:
    """Return the environment in which Chalice imports the app: not a function's, and without writing bytecode."""
    environment = {name: value for name, value in os.environ.items() if name != "AWS_LAMBDA_FUNCTION_NAME"}
    return {"AWS_DEFAULT_REGION": "us-east-1", **environment, "PYTHONDONTWRITEBYTECODE": "1"}


def chalice_command() -> str:
    """Return the path of the `chalice` command installed beside this Python."""
    return str(Path(sys.executable).with_name("chalice"))


def _run_chalice(project: Path, made: Path, stage: str, resources: Path | None) -> None:
    command = [chalice_command(), "package", "--stage", stage]
    if resources is not None:
        command += ["--merge-template", str(resources.resolve())]
    environment = chalice_environment()
    if resources is not None:  # a template parameter later decides which origin it is, if any
        environment["CORS_ORIGIN"] = CORS_PLACEHOLDER
    command.append(str(made))
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"chalice package failed:\n{done.stdout}{done.stderr}".rstrip())


def _template_of(made: Path) -> Any:
    """Return Chalice's template: YAML if it was merged with YAML, else JSON."""
    path = next(path for path in (made / "sam.yaml", made / TEMPLATE) if path.exists())
    return yaml.safe_load(path.read_text())  # JSON is YAML too


def _compile_what_a_start_needs(code: Path, project: Path, python: str) -> None:
    """Compile what is imported here, with the same versions: those of another architecture may not run here."""
    for cache in list(code.rglob("__pycache__")):
        shutil.rmtree(cache)
    command = [sys.executable, "-I", "-B", "-c", _OF_A_START, str(project)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    own = (str(path.relative_to(code)) for path in (code / "chalicelib").rglob("*.py"))
    _compile(sorted({name for name in (*listed, *own) if (code / name).exists()}), code, python)


def _compile(names: Iterable[str], code: Path, python: str) -> None:
    command = [python, "-I", "-S", "-B", "-c", _COMPILE, TASK_ROOT]
    done = subprocess.run(command, cwd=code, input="\n".join(names), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"{python} could not compile:\n{done.stderr}".rstrip())


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _write_zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in _files(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _DAY_ONE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if path.suffix == ".so" else 0o644) << 16
            archive.writestr(entry, path.read_bytes())
