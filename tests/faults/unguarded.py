"""The app on a store whose writes do not ask for the version that they were decided on: broken, for a test."""

from chalicelib.store.documents import Document
from chalicelib.store.writers import GuardedWrite


def _no_guard(self: GuardedWrite) -> Document:
    return {"_id": self.user}


GuardedWrite.guard = property(_no_guard)  # type: ignore[method-assign,assignment]

from app import app  # noqa: E402  # the guard is gone before anything is made
from chalicelib.runtime import start  # noqa: E402

__all__ = ["app", "start"]
