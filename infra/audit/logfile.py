"""Reads the events of an audit log, one at a time, and validates them against the schema."""

import gzip
import io
import os
import sys
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lxml import etree  # type: ignore[import-untyped]

from infra.audit.findings import AuditFindings

SCHEMA = Path(__file__).parents[2] / "docs/audit-log.xsd"
_GZIP = b"\x1f\x8b"
_TIMEOUT_SECONDS = 60.0
_BEGINNING = 1 << 16
_AT_ONCE = 500


class UnreadableLogError(Exception):
    """There is no log to check."""


@dataclass(frozen=True, slots=True)
class LogfileEvent:
    """One event: its number, counted from 1, its kind and the text of its fields."""

    number: int
    kind: str
    fields: dict[str, str]


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """Open a file, a URL, or `-` for standard input, gzipped or not. Raises UnreadableLogError."""
    try:
        with _raw(source) as raw, io.BufferedReader(raw, 1 << 20) as file:
            if file.peek(2)[:2] == _GZIP:
                with gzip.open(file) as unpacked:
                    yield unpacked  # type: ignore[misc]  # it reads bytes, which is all that is asked of it
            else:
                yield file
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UnreadableLogError(f"{source}: {error}") from error


def _raw(source: str) -> Any:
    if source == "-":
        if sys.stdin is None:
            raise ValueError("standard input is closed")
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    if source.startswith(("http://", "https://")):
        return urllib.request.urlopen(source, timeout=_TIMEOUT_SECONDS)  # noqa: S310  # http and https only
    return Path(source).open("rb", buffering=0)


def events(file: BinaryIO, findings: AuditFindings) -> Iterator[LogfileEvent]:
    """Yield the events of a log and record violations of its schema, in bounded memory.

    It ends where the file is no longer XML.
    """
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    number = 0
    for some in _elements(file, schema, findings):
        # A parser with a schema remembers something of every element, so elements are validated in batches instead.
        if not schema.validate(_log_of(some)):
            _note(some, number, schema, findings)
        for element in some:
            number += 1
            yield LogfileEvent(number, str(element.tag), {str(child.tag): child.text or "" for child in element})


def _elements(file: BinaryIO, schema: Any, findings: AuditFindings) -> Iterator[list[Any]]:
    """Yield the root's elements in batches, detached from it; check the root, and that it is complete."""
    if b"<!DOCTYPE" in file.peek(_BEGINNING):  # type: ignore[attr-defined]
        findings.add("form", "event 0", "a log has no document type; it was not read")
        return
    parsed = etree.iterparse(file, events=("end",), resolve_entities=False, remove_comments=True, remove_pis=True)
    complete: list[Any] = []
    try:
        for _, element in parsed:
            parent = element.getparent()
            if parent is None:
                yield complete
                complete = []
                if not schema.validate(element):
                    findings.add("form", "the root", str(schema.error_log.last_error.message))
            elif parent.getparent() is None:
                if len(complete) == _AT_ONCE:  # without this one: its tail has not been read yet
                    yield complete
                    complete = []
                complete.append(element)
    except etree.XMLSyntaxError as error:
        yield complete
        findings.add("xml", "the file", f"is cut off, or no XML: {error}")


def _log_of(elements: Iterable[Any]) -> Any:
    log = etree.Element("log")
    log.extend(elements)
    return log


def _note(elements: Iterable[Any], before: int, schema: Any, findings: AuditFindings) -> None:
    """Record which elements, numbered from the one after `before`, violate the schema."""
    for number, element in enumerate(list(elements), start=before + 1):
        if not schema.validate(_log_of([element])):
            for entry in schema.error_log:
                findings.add("form", f"event {number}", entry.message)
