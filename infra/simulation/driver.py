"""The MongoDB driver, as far as the store uses it, over a modelled network and replica set.

Like the real driver it retries once after a network error, with the same transaction number so that the database does
it once: `update_one`, `insert_one`, `find_one_and_update` and reads, but not `command`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self

import bson
from bson.codec_options import CodecOptions
from pymongo.errors import AutoReconnect, DuplicateKeyError, NetworkTimeout, OperationFailure, WTimeoutError

from infra.simulation.mongod import CommandError, Document, ReplicaSet, values
from infra.simulation.network import Answer, NoAnswerError, Weather, ask
from infra.simulation.scheduler import Scheduler

ANSWER_NS = 100_000_000
"""How long the driver waits for an answer (socketTimeoutMS)."""

MAJORITY_NS = 80_000_000
"""How long the database waits for a majority (wtimeout)."""

Effect = Callable[[], tuple[Any, int | None]]
"""The effect of a statement when it arrives: its value, and the optime that a majority must have."""


@dataclass(slots=True)
class _Statement:
    """A numbered statement, which the database executes once, however often it arrives."""

    effect: Effect
    done: tuple[Any, int | None] | None = None
    term: int = -1


class Link:
    """A server's connection to the replica set."""

    def __init__(self, scheduler: Scheduler, weather: Weather, members: ReplicaSet) -> None:
        self.scheduler = scheduler
        self.weather = weather
        self.members = members

    def send(self, effect: Effect, *, again: bool) -> Any:
        """Execute a statement in the database; `again` says that the driver may retry it."""
        statement = _Statement(effect)
        try:
            return self._send_once(statement)
        except (NetworkTimeout, AutoReconnect):
            if not again:
                raise
            return self._send_once(statement)

    def _send_once(self, statement: _Statement) -> Any:
        try:
            return ask(self.scheduler, self.weather, lambda answer: self._serve(statement, answer), ANSWER_NS)
        except NoAnswerError:
            raise NetworkTimeout("no answer in time") from None

    def _serve(self, statement: _Statement, answer: Answer) -> None:
        members = self.members
        if statement.done is None or not members.has_kept(statement.term, statement.done[1]):
            before = members.optime
            try:
                statement.done = statement.effect()
            except CommandError as error:
                failed = _failure(error.details)
                answer(lambda: _raised(failed))
                return
            term = statement.term = members.term
            if members.optime > before:
                written = members.optime
                self.scheduler.at(self.weather.replication_ns(), lambda: members.confirm_in(term, written))
        value, optime = statement.done
        if optime is None:
            answer(lambda: value)
            return
        answered = False

        def tell(*, confirmed: bool | None) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            if confirmed:
                answer(lambda: value)
            elif confirmed is None:
                answer(lambda: _unconfirmed(value))
            else:
                answer(lambda: _raised(AutoReconnect("not primary")))

        members.when_confirmed(optime, lambda confirmed: tell(confirmed=confirmed))
        self.scheduler.at(MAJORITY_NS, lambda: tell(confirmed=None))


def _raised(error: Exception) -> Any:
    raise error


def _unconfirmed(value: Any) -> Any:
    """Return a command's answer if no majority confirmed it in time; a driver operation raises it instead."""
    if isinstance(value, dict) and "nModified" in value:
        return {**value, "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}
    raise WTimeoutError("waiting for replication timed out", 64, {"code": 64})


def _failure(details: Document) -> OperationFailure:
    kind = DuplicateKeyError if details["code"] == 11000 else OperationFailure
    return kind(details["errmsg"], details["code"], details)


class ModelledCursor:
    """The documents found by a query."""

    def __init__(self, fetch: Callable[[], list[Any]]) -> None:
        self._fetch = fetch
        self._descending = False

    def sort(self, _name: str, direction: int) -> Self:
        """Sort by the id."""
        self._descending = direction < 0
        return self

    def batch_size(self, _size: int) -> Self:
        """Ignored: how results are batched is the driver's own affair."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        found = self._fetch()
        yield from reversed(found) if self._descending else found


@dataclass(slots=True)
class ModelledCollection:
    """A collection of documents."""

    database: "ModelledDatabase"
    name: str
    codec: CodecOptions[Any] = field(default_factory=CodecOptions)
    write_concern: Any = field(default_factory=lambda: SimpleNamespace(document={"w": "majority"}))
    read_concern: Any = field(default_factory=lambda: SimpleNamespace(document={"level": "majority"}))

    def with_options(self, codec_options: CodecOptions[Any]) -> "ModelledCollection":
        """Return the same collection with other decoding options."""
        return ModelledCollection(self.database, self.name, codec_options)

    def find(
        self,
        query: Mapping[str, Any],
        projection: Mapping[str, Any] | None = None,
        hint: str | None = None,  # noqa: ARG002 (only how it is found)
    ) -> ModelledCursor:
        """Return a query, which is sent when its documents are iterated."""
        return ModelledCursor(lambda: [bson.decode(raw, self.codec) for raw in self._find(query, projection)])

    def find_one(
        self, query: Mapping[str, Any], projection: Mapping[str, Any] | None = None, hint: str | None = None
    ) -> Any:
        """Return the first document, or None."""
        return next(iter(self.find(query, projection, hint)), None)

    def _find(self, query: Mapping[str, Any], projection: Mapping[str, Any] | None) -> list[bytes]:
        link = self.database.link
        members = link.members

        def effect() -> tuple[list[bytes], None]:
            at = link.weather.stale_moment(members.confirmed)
            return members.find(self.name, query, projection, at), None

        found: list[bytes] = link.send(effect, again=True)
        return found

    def distinct(self, path: str) -> list[Any]:
        """Return the values at a path."""
        found = [bson.decode(raw) for raw in self._find({}, None)]
        every: set[Any] = set()
        for document in found:
            there = list(values(document, path.split(".")))
            every |= set(there or [None])
        return list(every)

    def insert_one(self, document: Mapping[str, Any]) -> None:
        """Insert a document."""
        members = self.database.link.members

        def effect() -> tuple[None, int]:
            members.insert(self.name, document)
            return None, members.optime

        self.database.link.send(effect, again=True)

    def update_one(
        self,
        query: Mapping[str, Any],
        change: Mapping[str, Any],
        *,
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
    ) -> Any:
        """Update a document."""
        members = self.database.link.members

        def effect() -> tuple[Any, int]:
            found = members.update(self.name, query, change, upsert=upsert, filters=array_filters or ())
            # One that changes nothing waits for a majority of what it has seen, as in MongoDB.
            return SimpleNamespace(modified_count=found.modified, upserted_id=found.upserted), members.optime

        return self.database.link.send(effect, again=True)

    def find_one_and_update(
        self, query: Mapping[str, Any], change: Mapping[str, Any], *, return_document: bool
    ) -> Document | None:
        """Update a document and return it as it is afterwards."""
        if not return_document:
            raise NotImplementedError("the document as it was before")
        members = self.database.link.members

        def effect() -> tuple[Document | None, int]:
            members.update(self.name, query, change)
            return members.current(self.name, query["_id"]), members.optime

        changed: Document | None = self.database.link.send(effect, again=True)
        return changed

    def create_indexes(self, _indexes: Sequence[Any]) -> None:
        """Do nothing: the model needs no indexes."""
        self.database.link.send(lambda: (None, None), again=True)


@dataclass(slots=True)
class ModelledDatabase:
    """A database."""

    link: Link

    def __getitem__(self, name: str) -> ModelledCollection:
        return ModelledCollection(self, name)

    def command(self, command: Any, **_options: Any) -> Document:
        """Send `hello`, a query or a group of updates as a command, which is not retried."""
        if command == "hello":
            answer: Document = self.link.send(self._hello, again=False)
            return answer
        return self._find(command) if "find" in command else self._update(command)

    def _find(self, command: Mapping[str, Any]) -> Document:
        link = self.link

        def effect() -> tuple[list[bytes], None]:
            at = link.weather.stale_moment(link.members.confirmed)
            return link.members.find(command["find"], command["filter"], command["projection"], at), None

        if command["readConcern"] != {"level": "majority"}:
            raise NotImplementedError(f"a query for {command['readConcern']}")
        found: list[bytes] = link.send(effect, again=False)
        return {"cursor": {"firstBatch": [bson.decode(raw) for raw in found]}}

    def _hello(self) -> tuple[Document, None]:
        return {"localTime": datetime.fromtimestamp(self.link.scheduler.now_ns / 1e9, UTC).replace(tzinfo=None)}, None

    def _update(self, command: Mapping[str, Any]) -> Document:
        members = self.link.members

        def effect() -> tuple[Document, int]:
            modified, upserted, failed = 0, [], []
            for place, one in enumerate(command["updates"]):
                try:
                    found = members.update(
                        command["update"],
                        one["q"],
                        one["u"],
                        upsert=one.get("upsert", False),
                        filters=one.get("arrayFilters", ()),
                    )
                except CommandError as error:
                    failed.append({"index": place, **error.details})
                    continue
                modified += found.modified
                if found.upserted is not None:
                    upserted.append({"index": place, "_id": found.upserted})
            answer: Document = {"ok": 1, "nModified": modified}
            if upserted:
                answer["upserted"] = upserted
            if failed:
                answer["writeErrors"] = failed
            return answer, members.optime

        done: Document = self.link.send(effect, again=False)
        return done
