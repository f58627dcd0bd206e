"""Orders that expire within seconds: a test cannot move the stack's clock, but it can move the expiry of an order."""

import time

from pymongo import MongoClient

from chalicelib.store.documents import STATE, Document
from infra.local.background import BackgroundStack

LEFT_MS = 6_000
"""Less than the 15 s of the warning, and enough for a page that polls the account to see it."""


def run_out_soon(stack: BackgroundStack, user: str) -> None:
    """Make the pending orders of a user expire soon; pages see it with the next change of the account."""
    end = int(time.time() * 1000) + LEFT_MS
    fields = ("pending_buys.$[].until", "pending_sells.$[].until", "next_expiry")
    ends = {f"{STATE}.0.{field}": end for field in fields}
    client: MongoClient[Document]
    with MongoClient(stack.mongo_uri) as client:
        changed = client[stack.mongo_database]["accounts"].update_one({"_id": user}, {"$set": ends})
        assert changed.modified_count == 1
