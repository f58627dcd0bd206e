"""Instruments between the parts of a process: none, unless traces are enabled.

When the parts are wired up (`chalicelib.runtime`), each passes through the instruments. These return it unchanged, so a
command pays nothing; those of `chalicelib.observe.tracing` wrap it to make spans.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from chalicelib.observe.commands import SeenCommand

T = TypeVar("T")

TraceId = Callable[[], str | None]
"""Returns the id of the current thread's trace, 32 hexadecimal digits, or None."""

Carried = Mapping[str, str]
"""What another process needs to continue a trace: environment variables (W3C Trace Context)."""


class Instruments:
    """No instruments: every part is returned unchanged."""

    trace_id: TraceId | None = None
    on_command: Callable[[SeenCommand], None] | None = None
    database_listeners: tuple[Any, ...] = ()
    """Listeners for the MongoDB driver; see its `monitoring`."""

    def store(self, store: T) -> T:
        """Return the accounts, instrumented."""
        return store

    def quotes(self, quotes: T) -> T:
        """Return the quotes of this process, instrumented."""
        return quotes

    def cache(self, cache: T) -> T:
        """Return the cache that processes share, instrumented."""
        return cache

    def single_flight(self, single_flight: T) -> T:
        """Return the fetches that threads share, instrumented."""
        return single_flight

    def source(self, source: T) -> T:
        """Return the quote source, instrumented."""
        return source

    def queues(self, queues: T) -> T:
        """Return the queues of users, instrumented."""
        return queues

    def decide(self, decide: T) -> T:
        """Return the rules, instrumented."""
        return decide

    def dumps(self, dumps: T) -> T:
        """Return the audit logs, instrumented."""
        return dumps

    def sweeper(self, sweeper: T) -> T:
        """Return the sweep, instrumented."""
        return sweeper

    def batcher(self, make: T, operation: str) -> T:  # noqa: ARG002  # here it makes no difference
        """Return a function that makes batchers of a MongoDB operation, instrumented."""
        return make

    def request(self, request: Any, get_response: Callable[[Any], Any]) -> Any:
        """Answer a request of Chalice."""
        return get_response(request)

    def carried(self) -> Carried:
        """Return what a process started here needs to continue the trace."""
        return {}

    @contextmanager
    def going_on(self, carried: Carried, name: str) -> Iterator[None]:  # noqa: ARG002  # there is no trace
        """Run the block as a part of a trace that another process began."""
        yield

    def close(self) -> None:
        """Flush and stop."""


NO_INSTRUMENTS = Instruments()
