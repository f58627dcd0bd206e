"""The formats that accounts have had, and their conversion to that of this build (`chalicelib/store/documents.py`).

1  the fields of the state in the document itself (before commit 33d2616)
2  the state as the one element of an array, `state`
3  the same, in an array named `v3`, with a filter of the idempotency keys in place of `closed`, the hashes of those in
   closed parts

Additions without a new number are read leniently where they are missing.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.store.documents import DATA_VERSION, STATE, Document, account_document
from chalicelib.store.key_filter import HASH_BYTES, KeyFilter

_FORM_2 = "state"


class UnknownFormError(Exception):
    """A document of `accounts` that no build has written."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(f"the account {document['_id']!r} has a form that no build has made: {sorted(document)[:8]}")


def form_of(document: Mapping[str, Any]) -> int:
    """Return the version of an account's format; raises UnknownFormError."""
    if STATE in document:
        return DATA_VERSION
    if isinstance(document.get(_FORM_2), list):
        return 2
    if "version" in document and "cash" in document:
        return 1
    raise UnknownFormError(document)


def converted(document: Document) -> Document:
    """Return an account of an older format in that of this build; raises UnknownFormError."""
    match form_of(document):
        case 1:
            state = {name: value for name, value in document.items() if name != "_id"}
        case 2:
            (state,) = document[_FORM_2]
        case _:
            return document
    return account_document(document["_id"], _with_filter(state))


def _with_filter(state: Mapping[str, Any]) -> Document:
    """Return a state with a filter of its idempotency keys, from the hashes of those in closed parts, newest first."""
    keys = KeyFilter()
    for part in reversed(state.get("closed", ())):
        for place in range(0, len(part["keys"]), HASH_BYTES):
            keys, _ = keys.with_hash(part["keys"][place : place + HASH_BYTES], sequence=part["from"])
    for sequence, entry in enumerate(state["open"], start=state["open_from"]):
        if "key" in entry:
            keys, _ = keys.with_key(entry["key"], sequence)
    kept = {name: value for name, value in state.items() if name != "closed"}
    return kept | keys.fields()


def unchanged(document: Document) -> Document:
    """Return a filter that matches an account of an older format as long as it is unchanged."""
    if form_of(document) == 1:
        return {"_id": document["_id"], "version": document["version"]}
    return {"_id": document["_id"], f"{_FORM_2}.version": document[_FORM_2][0]["version"]}
