"""What stands between the parts of a process to see what goes on in them: nothing, unless traces are asked for.

A part is handed its neighbours when the process is put together (`chalicelib.runtime`), and there each passes through
the instruments. These hand everything on as it is, so a command meets nothing of them; those of
`chalicelib.observe.tracing` put a wrapper around it that makes spans.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from chalicelib.observe.commands import SeenCommand

T = TypeVar("T")

TraceId = Callable[[], str | None]
"""Returns the id of the trace that goes on in this thread, 32 hexadecimal digits; None without one."""

Carried = Mapping[str, str]
"""What a process needs to go on with a trace that another one began: environment variables (W3C Trace Context)."""


class Instruments:
    """None at all."""

    trace_id: TraceId | None = None
    on_command: Callable[[SeenCommand], None] | None = None
    database_listeners: tuple[Any, ...] = ()
    """For the MongoDB driver: see its `monitoring`."""

    def store(self, store: T) -> T:
        """Return what stands before the accounts."""
        return store

    def quotes(self, quotes: T) -> T:
        """Return what stands before the quotes of this process."""
        return quotes

    def cache(self, cache: T) -> T:
        """Return what stands before the cache that processes share."""
        return cache

    def single_flight(self, single_flight: T) -> T:
        """Return what stands before the fetches that threads share."""
        return single_flight

    def source(self, source: T) -> T:
        """Return what stands before the quote source."""
        return source

    def queues(self, queues: T) -> T:
        """Return what stands before the queues of users."""
        return queues

    def decide(self, decide: T) -> T:
        """Return what stands before the rules."""
        return decide

    def dumps(self, dumps: T) -> T:
        """Return what stands before the audit logs."""
        return dumps

    def sweeper(self, sweeper: T) -> T:
        """Return what stands before the sweep."""
        return sweeper

    def batcher(self, make: T, operation: str) -> T:  # noqa: ARG002  # here it makes no difference
        """Return what makes a batcher of an operation of MongoDB, as `make` does."""
        return make

    def request(self, request: Any, get_response: Callable[[Any], Any]) -> Any:
        """Answer a request of Chalice's."""
        return get_response(request)

    def carried(self) -> Carried:
        """Return what a process that is started here needs to go on with the trace."""
        return {}

    @contextmanager
    def going_on(self, carried: Carried, name: str) -> Iterator[None]:  # noqa: ARG002  # there is no trace
        """Do what is inside as a part of the trace that another process began."""
        yield

    def close(self) -> None:
        """Hand over what was seen; nothing is seen afterwards."""


NO_INSTRUMENTS = Instruments()
