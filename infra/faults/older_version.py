"""An older version of the code, from the repository, for a rolling upgrade and a rollback."""

import io
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from chalicelib.store.documents import DATA_VERSION

_DOCUMENTS = "chalicelib/store/documents.py"
_CODE = ("chalicelib", "app.py", "infra/servers")
_VERSION = re.compile(r"^DATA_VERSION = (\d+)$", re.MULTILINE)


class NoOlderCodeError(Exception):
    """There is no older version of the code that can run beside this one; says why."""


@dataclass(frozen=True, slots=True)
class OlderCode:
    """A version of the code: its name and its folder."""

    name: str
    folder: Path


def older_code(project: Path, folder: Path, wanted: str | None = None) -> OlderCode:
    """Extract an older version into a folder: the wanted one, else the newest tag, else the one before the last change.

    Raises NoOlderCodeError if there is none, or if it uses another data version: such builds never run side by side
    (docs/operations.md).
    """
    name = wanted or _tag(project) or _last_change(project)
    version = _VERSION.search(_git(project, "show", f"{name}:{_DOCUMENTS}").decode())
    found = "no version" if version is None else f"version {version[1]}"
    if found != f"version {DATA_VERSION}":
        raise NoOlderCodeError(f"{name} works on data of {found}, this code on version {DATA_VERSION}")
    with tarfile.open(fileobj=io.BytesIO(_git(project, "archive", "--format=tar", name))) as archive:
        # As the library's documentation recommends, for Python versions with and without filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(folder)  # noqa: S202  # git's own archive of our own repository
    return OlderCode(name, folder)


def _tag(project: Path) -> str | None:
    try:
        return _git(project, "describe", "--tags", "--abbrev=0", "HEAD^").decode().strip()
    except NoOlderCodeError:
        return None


def _last_change(project: Path) -> str:
    """Return the commit before the last one that changed the servers' code."""
    commits = _git(project, "rev-list", "-n", "1", "--abbrev-commit", "HEAD", "--", *_CODE).decode().split()
    if not commits:
        raise NoOlderCodeError("no commit has changed the code")
    return _git(project, "rev-parse", "--short", f"{commits[0]}^").decode().strip()


def _git(project: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(project), *arguments], check=True, capture_output=True).stdout
    except FileNotFoundError:
        raise NoOlderCodeError("there is no git") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise NoOlderCodeError(f"git {arguments[0]}: {said[-1] if said else error}") from None
