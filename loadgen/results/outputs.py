"""Output files: checked and opened before a run, written under temporary names, and renamed when complete.

So a long run does not end with a result that cannot be written, and a failure leaves the previous file in place.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

STANDARD_OUTPUT = Path("-")


class OutputError(Exception):
    """An output that cannot be written, or that would overwrite an input or another output."""


class Output:
    """One text file, or standard output for `-`. Special files, such as named pipes, are written in place."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises OutputError."""
        self.path = path
        self._partial: Path | None = None
        try:
            self._file = self._open()
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error

    def write(self, text: str) -> None:
        """Write the whole text, once. Raises OSError; the previous file is then still there."""
        if self._partial is None:
            self._file.write(text)
            self._file.flush()
            return
        with self._file:
            self._file.write(text)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._partial.replace(self._target)
        self._partial = None

    def close(self) -> None:
        """Remove what is left."""
        with suppress(OSError):
            if self._file is not sys.stdout:
                self._file.close()
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)

    def _open(self) -> TextIO:
        if self.path == STANDARD_OUTPUT:
            return sys.stdout
        self._target = self.path.resolve()  # a symbolic link stays one
        if is_special(self._target):
            return self._target.open("w", encoding="utf-8", newline="")
        if self.path.exists() and not self._target.exists():  # what /dev/stdout leads to in a pipeline
            why = "it is a pipe without a name, and a complete output is renamed to its name"
            raise OutputError(f"{self.path} cannot be written: {why}; use - for standard output")
        mode = self._target.stat().st_mode & 0o777 if self._target.exists() else 0o666 & ~_umask()
        number, name = tempfile.mkstemp(prefix=f".{self._target.name}.", suffix=".partial", dir=self._target.parent)
        self._partial = Path(name)
        self._partial.chmod(mode)
        return os.fdopen(number, "w", encoding="utf-8", newline="")


class Outputs:
    """The outputs of a command by their options (`--json`), opened together."""

    def __init__(
        self, paths: Mapping[str, Path | None], others: Mapping[str, Path | None], inputs: Sequence[Path]
    ) -> None:
        """Open the outputs in `paths`, whose keys are argument names. Raises OutputError.

        None may be one of `others` (files that others write) or of the `inputs`, and no two may be the same.
        """
        wanted = {name: path for name, path in paths.items() if path is not None}
        options = {"--" + name.replace("_", "-"): path for name, path in wanted.items()}
        check_distinct({**options, **{name: path for name, path in others.items() if path is not None}}, inputs)
        self._outputs: dict[str, Output] = {}
        try:
            for name, path in wanted.items():
                self._outputs[name] = Output(path)
        except OutputError:
            self.close()
            raise

    @property
    def take_standard_output(self) -> bool:
        """Return whether one of them is standard output, so that nothing else may be written to it."""
        return any(output.path == STANDARD_OUTPUT for output in self._outputs.values())

    def __contains__(self, name: str) -> bool:
        return name in self._outputs

    def write(self, name: str, text: str) -> str | None:
        """Write one of them; return what went wrong, or None."""
        output = self._outputs[name]
        try:
            output.write(text)
        except OSError as error:
            return f"cannot write {output.path}: {error.strerror or error}"
        return None

    def close(self) -> None:
        """Remove what was not written."""
        for output in self._outputs.values():
            output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_distinct(outputs: Mapping[str, Path], inputs: Sequence[Path]) -> None:
    """Raise OutputError if an output is a folder, has no folder, or is an input or another output."""
    seen: dict[object, str] = {}
    read = {_identity(path): path for path in inputs}
    for name, path in outputs.items():
        if path.is_dir():
            raise OutputError(f"{name} {path} is a folder, not a file")
        if path != STANDARD_OUTPUT and not path.parent.is_dir():
            raise OutputError(f"{name} {path} cannot be written: there is no folder {path.parent}")
        if is_special(path):
            continue
        identity = _identity(path)
        if identity in read:
            raise OutputError(f"{name} {path} would overwrite the input {read[identity]}")
        if identity in seen:
            raise OutputError(f"{seen[identity]} and {name} are the same file, {path}: give each its own name")
        seen[identity] = name


def is_special(path: Path) -> bool:
    """Return whether a path is something other than a regular file or a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def written_beside(path: Path, run_id: str) -> Iterator[Path]:
    """Yield a temporary path for a file, and rename it to `path` at the end, however the run ended.

    The temporary name contains the run's id, so the next run does not overwrite what a killed run leaves. Raises
    OutputError.
    """
    if is_special(path):
        yield path
        return
    beside = path.with_name(f"{path.name}.{run_id}.partial")
    if beside.exists():
        raise OutputError(f"{beside} was left by an earlier run with this id: move it away first")
    try:
        yield beside
    finally:
        with suppress(FileNotFoundError):
            beside.replace(path)


def _identity(path: Path) -> object:
    """Return what identifies a file, whatever its name."""
    if path == STANDARD_OUTPUT:
        return "-"
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
