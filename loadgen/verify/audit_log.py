"""Reads an audit log (docs/rules.md section 6), event by event, whatever its size."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

KINDS = frozenset({"userCommand", "quoteServer", "accountTransaction", "systemEvent", "errorEvent", "debugEvent"})


class AuditLogError(Exception):
    """A log that cannot be read or is not one."""


class Event(NamedTuple):
    """One event. `fields` has the text of its children by name, including those that are attributes here."""

    kind: str
    timestamp_ms: int
    transaction: int
    username: str | None
    fields: Mapping[str, str]


def read_events(source: BinaryIO) -> Iterator[Event]:
    """Yield the events of a log in order. Raises AuditLogError.

    The log comes from the server under test, which the user trusts with the token: an XML bomb is not a concern.
    """
    depth = 0
    root: ET.Element | None = None
    try:
        for step, element in ET.iterparse(source, ("start", "end")):  # noqa: S314 (see above)
            if step == "start":
                depth += 1
                if root is None:
                    root = element
                    if element.tag != "log":
                        raise AuditLogError(f"the root of the log is {element.tag}, not log")
                continue
            depth -= 1
            if depth == 1:
                yield _event(element)
                assert root is not None
                root.clear()
    except ET.ParseError as error:
        raise AuditLogError(f"the log is not well-formed XML: {error}") from error
    except OSError as error:
        raise AuditLogError(f"the log is incomplete: {error}") from error


def _event(element: ET.Element) -> Event:
    fields = {child.tag: child.text or "" for child in element}
    if element.tag not in KINDS:
        raise AuditLogError(f"the log has an unknown event: {element.tag}")
    try:
        return Event(
            element.tag, int(fields["timestamp"]), int(fields["transactionNum"]), fields.get("username"), fields
        )
    except (KeyError, ValueError) as error:
        raise AuditLogError(f"the log has a {element.tag} without a usable timestamp or transactionNum") from error
