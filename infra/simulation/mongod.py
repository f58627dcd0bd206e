"""A MongoDB replica set, as far as the store uses one: documents, what a majority has of them, and failovers.

Every version of a document is kept. A write makes a new one at once, which a majority has some time later, or never if
the primary fails first. Unused features raise NotImplementedError. One test suite checks that this model and a real
mongod behave alike (tests/faults/test_model_contract.py).
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson

Document = dict[str, Any]

BAD_VALUE = 2
DUPLICATE_KEY = 11000


class CommandError(Exception):
    """A statement that the database refuses, with its code and message."""

    def __init__(self, code: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details: Document = {"code": code, "errmsg": message, **details}


@dataclass(frozen=True, slots=True)
class _Version:
    """A document from one optime on; None is no document."""

    optime: int
    raw: bytes | None


@dataclass(slots=True)
class _Waiter:
    optime: int
    tell: Callable[[bool], None]


@dataclass(slots=True)
class Updated:
    """The result of an update."""

    matched: int = 0
    modified: int = 0
    upserted: Any = None


class ReplicaSet:
    """The primary's documents. A majority has them as of the optime `confirmed`."""

    def __init__(self) -> None:
        self.optime = 0
        self.confirmed = 0
        self.term = 0
        self._ends: list[int] = []
        """The last optime of each term that was kept."""
        self._collections: dict[str, dict[Any, list[_Version]]] = {}
        self._waiters: list[_Waiter] = []

    # What a majority has

    def confirm(self, optime: int) -> None:
        """Let a majority have everything up to this optime."""
        self.confirmed = max(self.confirmed, min(optime, self.optime))
        due = [waiter for waiter in self._waiters if waiter.optime <= self.confirmed]
        self._waiters = [waiter for waiter in self._waiters if waiter.optime > self.confirmed]
        for waiter in due:
            waiter.tell(True)

    def confirm_in(self, term: int, optime: int) -> None:
        """Likewise, unless another member has become primary since: then those writes are gone."""
        if term == self.term:
            self.confirm(optime)

    def has_kept(self, term: int, optime: int | None) -> bool:
        """Return whether the writes of a term up to this optime still exist; one that changed nothing counts as not."""
        return term == self.term or (optime is not None and optime <= self._ends[term])

    def when_confirmed(self, optime: int, tell: Callable[[bool], None]) -> None:
        """Call `tell` when a majority has this optime: with True, or False if it was rolled back."""
        if optime <= self.confirmed:
            tell(True)
        else:
            self._waiters.append(_Waiter(optime, tell))

    def fail_over(self) -> None:
        """Make another member primary, which has exactly what a majority has."""
        for documents in self._collections.values():
            for versions in documents.values():
                while versions and versions[-1].optime > self.confirmed:
                    versions.pop()
        lost, self._waiters = self._waiters, []
        self.term += 1
        self._ends.append(self.confirmed)
        self.optime += 1
        self.confirmed = self.optime
        for waiter in lost:
            waiter.tell(False)

    # Reads

    def find(
        self,
        collection: str,
        query: Mapping[str, Any],
        projection: Mapping[str, Any] | None = None,
        at: int | None = None,
    ) -> list[bytes]:
        """Return the documents, ordered by id, as a majority had them at an optime, by default now."""
        moment = self.confirmed if at is None else at
        found: list[bytes] = []
        for name, versions in sorted(self._candidates(collection, query)):
            raw = _at(versions, moment)
            if raw is None:
                continue
            document = bson.decode(raw)
            if matches(document, query):
                found.append(raw if projection is None else bson.encode(project(document, projection)))
                assert document["_id"] == name
        return found

    def latest(self, collection: str) -> list[Document]:
        """Return all documents as the primary has them."""
        return [bson.decode(raw) for raw in self.find(collection, {}, at=self.optime)]

    def _candidates(self, collection: str, query: Mapping[str, Any]) -> Iterable[tuple[Any, list[_Version]]]:
        documents = self._collections.get(collection, {})
        wanted = query.get("_id")
        if isinstance(wanted, Mapping) and "$in" in wanted:
            return [(name, documents[name]) for name in wanted["$in"] if name in documents]
        if wanted is None or isinstance(wanted, Mapping):
            return list(documents.items())
        return [(wanted, documents[wanted])] if wanted in documents else []

    # Writes, each of which sets `optime`

    def insert(self, collection: str, document: Mapping[str, Any]) -> None:
        """Insert a document; raises CommandError if its id exists."""
        raw = bson.encode(document)
        name = bson.decode(raw)["_id"]
        if self._current(collection, name) is not None:
            raise CommandError(DUPLICATE_KEY, f"duplicate key: {name}", keyPattern={"_id": 1})
        self._put(collection, name, raw)

    def update(
        self,
        collection: str,
        query: Mapping[str, Any],
        change: Mapping[str, Any],
        *,
        upsert: bool = False,
        filters: Sequence[Mapping[str, Any]] = (),
    ) -> Updated:
        """Update or upsert the document with an id; raises CommandError."""
        if set(query) != {"_id"}:
            raise NotImplementedError(f"an update by {query}")
        name = query["_id"]
        current = self._current(collection, name)
        if current is None:
            if not upsert:
                return Updated()
            document: Document = {"_id": name}
            _apply(document, change, {})
            self._put(collection, name, bson.encode(document))
            return Updated(upserted=name)
        document = bson.decode(current)
        conditions = {next(iter(one)).split(".")[0]: one for one in filters}
        _apply(document, {name: fields for name, fields in change.items() if name != "$setOnInsert"}, conditions)
        raw = bson.encode(document)
        if raw == current:
            return Updated(matched=1)
        self._put(collection, name, raw)
        return Updated(matched=1, modified=1)

    def current(self, collection: str, name: Any) -> Document | None:
        """Return a document as the primary has it."""
        raw = self._current(collection, name)
        return None if raw is None else bson.decode(raw)

    def _current(self, collection: str, name: Any) -> bytes | None:
        versions = self._collections.get(collection, {}).get(name)
        return versions[-1].raw if versions else None

    def _put(self, collection: str, name: Any, raw: bytes) -> None:
        self.optime += 1
        self._collections.setdefault(collection, {}).setdefault(name, []).append(_Version(self.optime, raw))


def _at(versions: Sequence[_Version], moment: int) -> bytes | None:
    return next((version.raw for version in reversed(versions) if version.optime <= moment), None)


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda value, wanted: value in wanted,
}


def matches(document: Any, query: Mapping[str, Any]) -> bool:
    """Return whether a document matches a filter of the store."""
    for path, condition in query.items():
        if path == "$or":
            if not any(matches(document, one) for one in condition):
                return False
            continue
        found = list(values(document, path.split(".")))
        if isinstance(condition, Mapping) and "$elemMatch" in condition:
            arrays = [value for value in found if isinstance(value, list)]
            if not any(matches(one, condition["$elemMatch"]) for array in arrays for one in array):
                return False
        elif not _one_matches(found, condition):
            return False
    return True


def _one_matches(found: Sequence[Any], condition: Any) -> bool:
    spread = [*found, *(one for value in found if isinstance(value, list) for one in value)]
    if not isinstance(condition, Mapping):
        return condition in spread
    if unknown := condition.keys() - _COMPARISONS.keys():
        raise NotImplementedError(f"a filter with {unknown}")
    # Each condition may be met by another element of the array, as in MongoDB.
    return all(
        any(value is not None and _COMPARISONS[name](value, wanted) for value in spread if _comparable(value, wanted))
        for name, wanted in condition.items()
    )


def _comparable(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return True
    return isinstance(value, str) == isinstance(wanted, str) and not isinstance(value, list | dict)


def values(document: Any, path: Sequence[str]) -> Iterable[Any]:
    """Yield the values at a path, also within arrays."""
    if not path:
        yield document
    elif isinstance(document, list):
        for one in document:
            if isinstance(one, dict):
                yield from values(one, path)
    elif isinstance(document, dict) and path[0] in document:
        yield from values(document[path[0]], path[1:])


@dataclass(slots=True)
class _Wanted:
    fields: "dict[str, _Wanted]" = field(default_factory=dict)
    whole: bool = False
    element: Mapping[str, Any] | None = None
    last: int | None = None


def project(document: Document, projection: Mapping[str, Any]) -> Document:
    """Return a document's projected fields and its id."""
    top = _Wanted()
    for path, wanted in projection.items():
        place = top
        for name in path.split("."):
            place = place.fields.setdefault(name, _Wanted())
        if isinstance(wanted, Mapping) and "$slice" in wanted:
            place.last = -wanted["$slice"]
        elif isinstance(wanted, Mapping):
            place.element = wanted["$elemMatch"]
        else:
            place.whole = True
    top.fields.setdefault("_id", _Wanted(whole=True))
    return dict(_projected(document, top))


def _projected(value: Any, wanted: _Wanted) -> Any:
    if wanted.whole:
        return value
    if isinstance(value, list):
        return [_projected(one, wanted) for one in value if isinstance(one, dict)]
    kept: Document = {}
    for name, inner in value.items():
        if name not in wanted.fields:
            continue
        within = wanted.fields[name]
        if within.element is not None:
            if (first := next((one for one in inner if matches(one, within.element)), None)) is not None:
                kept[name] = [first]
        elif within.last is not None:
            kept[name] = inner[-within.last :]
        elif within.whole or isinstance(inner, dict | list):
            kept[name] = _projected(inner, within)
    return kept


def _apply(document: Document, change: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> None:
    """Change a document; array filters are evaluated on the document before any of the changes."""
    todo: list[tuple[Any, str, str, Any]] = []
    for operators, fields in change.items():
        for path, value in fields.items():
            *way, last = path.split(".")
            places = _places(document, way, conditions, makes=operators != "$unset")
            todo.extend((place, last, operators, value) for place in places)
    for one in todo:
        _change(*one)


def _places(
    document: Any, way: Sequence[str], conditions: Mapping[str, Mapping[str, Any]], *, makes: bool
) -> Iterable[Any]:
    """Yield the documents or arrays that contain the last name of a path, for all elements that a filter matches."""
    if not way:
        yield document
        return
    name, rest = way[0], way[1:]
    if rest and rest[0].startswith("$["):
        if name not in document:
            raise CommandError(
                BAD_VALUE, f"The path '{name}' must exist in the document in order to apply array updates."
            )
        identifier = rest[0][2:-1]
        condition = {path.split(".", 1)[1]: wanted for path, wanted in conditions[identifier].items()}
        for one in document[name]:
            if matches(one, condition):
                yield from _places(one, rest[1:], conditions, makes=makes)
        return
    if name not in document:
        if not makes:
            return
        document[name] = {}
    yield from _places(document[name], rest, conditions, makes=makes)


def _change(place: Any, name: str, operators: str, value: Any) -> None:
    if isinstance(place, list):
        if operators != "$set":
            raise NotImplementedError(f"{operators} of element {name}")
        place.extend([None] * (int(name) - len(place)))  # as MongoDB pads missing elements
        place[int(name) : int(name) + 1] = [value]
        return
    match operators:
        case "$set" | "$setOnInsert":
            place[name] = value
        case "$unset":
            place.pop(name, None)
        case "$inc":
            place[name] = place.get(name, 0) + value
        case "$push":
            place.setdefault(name, []).append(value)
        case "$pop":
            if place.get(name):
                place[name].pop(-1 if value == 1 else 0)
        case _:
            raise NotImplementedError(operators)
