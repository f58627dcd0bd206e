"""Reads the events of an audit log, one at a time, validating its form on the way."""

import gzip
import io
import os
import sys
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lxml import etree  # type: ignore[import-untyped]

from infra.audit.findings import Findings

SCHEMA = Path(__file__).parents[2] / "docs/audit-log.xsd"
_GZIP = b"\x1f\x8b"
_TIMEOUT_SECONDS = 60.0
_BEGINNING = 1 << 16
_TOO_MANY = 10_000


class UnreadableError(Exception):
    """There is no log to check."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its number, counted from 1, its kind and the text of its fields."""

    number: int
    kind: str
    fields: dict[str, str]


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """Open a file, a URL, or `-` for standard input, packed with gzip or not. Raises UnreadableError."""
    try:
        with _raw(source) as raw, io.BufferedReader(raw, 1 << 20) as file:
            if file.peek(2)[:2] == _GZIP:
                with gzip.open(file) as unpacked:
                    yield unpacked  # type: ignore[misc]  # it reads bytes, which is all that is asked of it
            else:
                yield file
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UnreadableError(f"{source}: {error}") from error


def _raw(source: str) -> Any:
    if source == "-":
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    if source.startswith(("http://", "https://")):
        return urllib.request.urlopen(source, timeout=_TIMEOUT_SECONDS)  # noqa: S310  # http and https only
    return Path(source).open("rb", buffering=0)


def events(file: BinaryIO, findings: Findings) -> Iterator[Event]:
    """Yield the events of a log, noting where its form is broken; memory does not grow with it.

    It ends early where the file is no XML any more, and after very many breaks of the form.
    """
    if b"<!DOCTYPE" in file.peek(_BEGINNING):  # type: ignore[attr-defined]
        findings.add("form", "event 0", "a log has no document type; it was not read")
        return
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    # Entities are never resolved: a log has none, and lxml crashes when it validates a document that brings its own.
    parsed = etree.iterparse(
        file, events=("end",), schema=schema, resolve_entities=False, remove_comments=True, remove_pis=True
    )
    number = noted = 0
    is_whole = False
    problem: Exception | None = None
    try:
        for _, element in parsed:
            parent = element.getparent()
            if parent is None:
                is_whole = True
            elif parent.getparent() is None:
                number += 1
                noted = _note(parsed, noted, number, findings)
                if noted >= _TOO_MANY:
                    findings.add("form", f"event {number}", "very many breaks; the rest was not read")
                    return
                yield Event(number, str(element.tag), {str(child.tag): child.text or "" for child in element})
                element.clear()
                while element.getprevious() is not None:
                    del parent[0]
    except etree.XMLSyntaxError as error:
        problem = error
    broken = _note(parsed, noted, number, findings)
    # While it validates, lxml may end without a word where the XML does; and it ends with an error for any broken form.
    if not is_whole:
        findings.add("xml", f"after event {number}", "the log is cut off, or no XML any more")
    elif problem is not None and not broken:
        findings.add("xml", f"after event {number}", f"something follows the log: {problem}")


def _note(parsed: Any, noted: int, number: int, findings: Findings) -> int:
    """Note the breaks of the form that are new since `noted`; return how many there are in all."""
    found = parsed.error_log
    for entry in found[noted:] if len(found) > noted else ():
        if entry.domain_name == "SCHEMASV":
            findings.add("form", f"event {number}", entry.message)
    return len(found)
