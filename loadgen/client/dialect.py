"""What the client must know of a workload: how an item becomes a request, and what its response means."""

from typing import NamedTuple, Protocol, TypeVar

from loadgen.client.response import Response


class Item(Protocol):
    """One line of a workload. A user's (or stream's) items are sent in order; one without a user is a barrier."""

    @property
    def transaction(self) -> int:
        """Return its number, unique in the workload."""

    @property
    def name(self) -> str:
        """Return the name under which it is counted."""

    @property
    def user(self) -> str | None:
        """Return its user."""


class Verdict(NamedTuple):
    """The meaning of a response.

    `final` is whether it is the outcome, `again` whether another try may help, after `retry_after_s` seconds. `code` is
    `ok`, a code of the server or one of our reasons; `said` is a further explanation. After a `desynchronised` response
    the connection cannot be trusted: the next response may belong to an earlier request.
    """

    final: bool
    again: bool
    code: str
    retry_after_s: float = 0.0
    said: str = ""
    desynchronised: bool = False


AnyItem = TypeVar("AnyItem", bound=Item)
AnyItem_contra = TypeVar("AnyItem_contra", bound=Item, contravariant=True)


class Dialect(Protocol[AnyItem_contra]):
    """How the items of one kind of workload are sent."""

    def encode(self, item: AnyItem_contra) -> bytes:
        """Return the request of an item."""

    def request_line(self, item: AnyItem_contra) -> tuple[str, str]:
        """Return method and path of an item's request."""

    def timeout_s(self, item: AnyItem_contra) -> float | None:
        """Return an item's own time-out in seconds, or None for the run's."""

    def may_repeat(self, item: AnyItem_contra | None) -> bool:
        """Return whether sending an item twice is safe; None is a read."""

    def judge(self, response: Response, item: AnyItem_contra | None) -> Verdict:
        """Return the meaning of a response to an item; None is a request outside the workload."""
