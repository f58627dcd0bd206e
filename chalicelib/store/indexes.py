"""The indexes of `accounts`, by which the sweep finds its work."""

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from chalicelib.store.documents import STATE, Document

DUE_INDEX = "armed"
EXPIRY_INDEX = "next_expiry"
ACCOUNT_INDEXES = [
    IndexModel([(f"{STATE}.armed.{field}", ASCENDING) for field in ("sym", "from", "to")], name=DUE_INDEX),
    IndexModel([(f"{STATE}.next_expiry", ASCENDING)], name=EXPIRY_INDEX, sparse=True),
]


def make_account_indexes(database: Database[Document]) -> None:
    """Create the missing indexes; idempotent. Raises PyMongoError."""
    database["accounts"].create_indexes(ACCOUNT_INDEXES)


def missing_indexes(database: Database[Document]) -> list[str]:
    """Return the names of indexes that are missing or of another data version. Raises PyMongoError."""
    there = {name: dict(found["key"]) for name, found in database["accounts"].index_information().items()}
    wanted = {model.document["name"]: dict(model.document["key"]) for model in ACCOUNT_INDEXES}
    return sorted(name for name, key in wanted.items() if there.get(name) != key)
