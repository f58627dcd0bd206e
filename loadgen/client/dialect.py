"""What the client must know of a workload: how an item becomes a request, and what a response to it is worth."""

from typing import NamedTuple, Protocol, TypeVar

from loadgen.client.response import Response


class Item(Protocol):
    """One line of a workload. Those of one user (or stream) go in their order; without one it is a barrier."""

    @property
    def transaction(self) -> int:
        """Return its number, which no other line of the workload has."""

    @property
    def name(self) -> str:
        """Return what it is counted as."""

    @property
    def user(self) -> str | None:
        """Return whose it is."""


class Verdict(NamedTuple):
    """What a response is worth.

    `final` is whether it is the outcome, `again` whether another try may help, after `retry_after_s` seconds. `code` is
    `ok`, a code of the server or a reason of ours; `said` is what a reader should know beyond that. After a response
    with `desynchronised` the connection cannot be trusted: what comes next may belong to an earlier request.
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
        """Return an item's own time-out in seconds, None for that of the run."""

    def may_repeat(self, item: AnyItem_contra | None) -> bool:
        """Return whether sending an item twice is safe; None is a request that reads."""

    def judge(self, response: Response, item: AnyItem_contra | None) -> Verdict:
        """Return what a response to an item is worth; None is a request that is none of the workload."""
