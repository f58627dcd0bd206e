"""What the tests of the audit log share: logs read and validated, dumps to any place, an S3 of their own."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

from chalicelib.domain.account import Account
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.decide import decide
from chalicelib.domain.journal import Entry

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[2] / "docs/audit-log.xsd"))
Events = list[tuple[str, dict[str, str]]]
_NUMBERS = count(1_000_000)


def read_log(log: bytes) -> Events:
    """Return the events of a log, kind and fields, after validating it and the order of its times."""
    root = etree.fromstring(log, etree.XMLParser(huge_tree=True))
    SCHEMA.assertValid(root)
    events = [(event.tag, {field.tag: field.text for field in event}) for event in root]
    times = [int(fields["timestamp"]) for _, fields in events]
    assert times == sorted(times)
    return events


def transactions(events: Events, kind: str = "userCommand") -> list[int]:
    """Return the numbers of the events of a kind, in their order."""
    return [int(fields["transactionNum"]) for its, fields in events if its == kind]


def dumplog(now_ms: int, user: str = "auditor", filename: str = "log.xml", *, of_all: bool = True) -> Entry:
    """Return the entry of a DUMPLOG; it stands in no journal."""
    command = Command(CommandName.DUMPLOG, user, next(_NUMBERS), filename=filename, of_all=of_all)
    return decide(Account(user), command, None, now_ms, 1).entry


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket on a server of S3."""

    client: Any
    name: str

    @property
    def uploads(self) -> list[Any]:
        """Return the uploads that were neither completed nor aborted."""
        found: list[Any] = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found

    @property
    def keys(self) -> list[str]:
        """Return the keys of the files."""
        return [file["Key"] for file in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def read(self, key: str) -> bytes:
        """Return a file."""
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def parts(self, key: str) -> int:
        """Return in how many parts a file came, 0 when it came as a whole."""
        tag: str = self.client.head_object(Bucket=self.name, Key=key)["ETag"].strip('"')
        return int(tag.partition("-")[2] or 0)
