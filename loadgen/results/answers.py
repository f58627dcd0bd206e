"""The record of a replay's answers, as JSON lines, gzipped if the file name ends in `.gz`.

It is written during the replay and read line by line, so neither needs memory for it. A user's answers are in the order
of its commands. docs/loadgen.md describes the lines.
"""

import gzip
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, cast

from loadgen.client.retry import Outcome, parse_object
from loadgen.workload.files import Command
from loadgen.workload.selection import EVERYTHING, Selection

FORMAT = 2
"""The version of the file format."""


class AnswersError(Exception):
    """An answers file that cannot be read or written, or is not one."""


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One command's answer. Times are the client's, in ms since 1970; `body` is None without a final answer."""

    transaction: int
    final: bool
    status: int
    code: str
    sent_ms: int
    received_ms: int
    body: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Header:
    """The run that the answers belong to.

    `baseline` is whether the accounts were read before the run; `whole` whether its time was unlimited, so that all
    commands were to be sent.
    """

    run_id: str
    url: str
    commands: int
    started_ms: int
    baseline: bool
    selection: Selection = EVERYTHING
    whole: bool = True


FLUSH_S = 1.0
"""How often answers are flushed to the kernel: the most that is lost if the load generator is killed."""


class AnswerWriter:
    """Writes an answers file; thread-safe. `trouble` says why it can no longer be written, if so."""

    def __init__(self, path: Path, header: Header | None, *, compressed: bool = False, is_json: bool = True) -> None:
        """Create a file; one without a header is joined to another later. Raises AnswersError.

        `is_json` is whether bodies are JSON and are written as they are; otherwise they are strings.
        """
        self.trouble: str | None = None
        self.path, self.compressed = path, compressed
        self._is_json = is_json
        try:
            self._file = _open(path, "wb", compressed=compressed)
        except OSError as error:
            raise AnswersError(f"cannot write {path}: {error.strerror}") from error
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, name="answers", daemon=True)
        self._flusher.start()
        if header is not None:
            self._write(
                {
                    "loadgen": FORMAT,
                    "run_id": header.run_id,
                    "url": header.url,
                    "commands": header.commands,
                    "started_ms": header.started_ms,
                    "baseline": header.baseline,
                    "selection": header.selection.figures(),
                    "whole": header.whole,
                }
            )

    def add_baseline(self, user: str, account: Mapping[str, Any], last: Mapping[str, Any] | None) -> None:
        """Add a user's account from before the run, and the last entry of its journal then."""
        line = {"baseline": user, "answer": account, "last": last}
        self._put(json.dumps(line, separators=(",", ":"))[:-1].encode())

    def add(self, command: Command, outcome: Outcome) -> None:
        """Add the outcome of a command."""
        if not outcome.final:
            body = b"null"
        elif self._is_json:
            body = _one_line(outcome.body)
        else:
            body = json.dumps(outcome.body.decode(errors="replace")).encode()
        self._put(
            f'{{"n":{command.transaction},"final":{"true" if outcome.final else "false"},"status":{outcome.status},'
            f'"code":{json.dumps(outcome.code)},"tries":{outcome.tries},'
            f'"sent":{outcome.sent_ms},"received":{outcome.received_ms},"answer":'.encode()
            + body
        )

    def flush(self) -> None:
        """Write what was added so far, so that a forked process has nothing buffered."""
        with self._lock:
            self._try(self._file.flush)

    def close(self) -> None:
        """Close the file."""
        self._closing.set()
        self._flusher.join()
        with self._lock:
            self._try(self._file.close)

    def join(self, parts: Sequence[Path]) -> None:
        """Append the answers in other files of the same format, delete those files, and close this one."""
        self.close()
        self._try(lambda: _append(self.path, parts))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: dict[str, Any]) -> None:
        line_of = json.dumps(line).encode() + b"\n"
        self._try(lambda: self._file.write(line_of))

    def _put(self, start: bytes) -> None:
        with self._lock:
            self._try(lambda: self._file.write(start + b"}\n"))

    def _flush_regularly(self) -> None:
        while not self._closing.wait(FLUSH_S):
            self.flush()

    def _try(self, write: Callable[[], object]) -> None:
        """Perform an operation on the file, unless one has failed already."""
        if self.trouble is not None and not self._closing.is_set():
            return
        try:
            write()
        except OSError as error:
            self.trouble = self.trouble or f"the answers cannot be written to {self.path}: {error.strerror or error}"


class AnswerFile:
    """Reads an answers file."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises AnswersError."""
        self._path = path
        first = next(self._lines(), None)
        if first is None or first.get("loadgen") != FORMAT:
            raise AnswersError(f"{path} is not an answers file of this version")
        try:
            self.header = Header(
                first["run_id"],
                first["url"],
                first["commands"],
                first["started_ms"],
                first["baseline"],
                Selection.read(first["selection"]) if "selection" in first else EVERYTHING,
                first.get("whole", True),
            )
        except KeyError as error:
            raise AnswersError(f"{path}: its first line has no {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise AnswersError(f"{path}: its first line is damaged: {error}") from error

    def baselines(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
        """Yield the users' accounts from before the run, each with its journal's last entry; raises AnswersError."""
        lines = self._lines()
        next(lines)
        for line in lines:
            if "baseline" not in line:
                return
            yield line["baseline"], line["answer"], line.get("last")

    def answers(self) -> Iterator[RecordedAnswer]:
        """Yield the answers in the order in which they came. Raises AnswersError."""
        for line in self._lines():
            if "n" not in line:
                continue
            try:
                yield RecordedAnswer(
                    line["n"],
                    line["final"],
                    line["status"],
                    line["code"],
                    line["sent"],
                    line["received"],
                    line["answer"],
                )
            except KeyError as error:
                raise AnswersError(f"{self._path}: the answer to command {line['n']} has no {error}") from error

    def _lines(self) -> Iterator[dict[str, Any]]:
        number = 0
        try:
            with _open(self._path, "rb", compressed=self._path.suffix == ".gz") as file:
                for number, raw in enumerate(file, 1):
                    line = parse_object(raw)
                    if line is None:
                        raise AnswersError(f"{self._path}: line {number} is damaged")
                    yield line
        except (OSError, EOFError) as error:
            said = getattr(error, "strerror", None) or str(error)
            after = f" after line {number}" if number else ""
            raise AnswersError(f"cannot read {self._path}{after}: {said}") from error


def _open(path: Path, mode: Literal["rb", "wb"], *, compressed: bool) -> BinaryIO:
    if compressed:
        return cast("BinaryIO", gzip.open(path, mode, compresslevel=4))
    return path.open(mode, buffering=1 << 18)


def _append(path: Path, parts: Sequence[Path]) -> None:
    with path.open("ab") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
            part.unlink()


def _one_line(body: bytes) -> bytes:
    """Return a JSON text without its line breaks; JSON strings contain none."""
    return body.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in body or b"\r" in body else body
