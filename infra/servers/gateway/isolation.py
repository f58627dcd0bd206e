"""A Chalice app keeps the request it works on in attributes of itself; on a server with many each needs its own."""

from contextvars import ContextVar
from typing import Any

from chalice.app import Chalice


def isolate_requests(app: Chalice) -> None:
    """Give every thread, and every greenlet, its own `current_request` and `lambda_context` of `app`, at first None.

    Without it requests that run at the same time see each other's: Chalice expects one at a time, as in a Lambda
    container. The app changes its class in place, because views and blueprints hold on to this very object.
    """

    def stored_per_request(name: str) -> property:
        variable: ContextVar[Any] = ContextVar(name, default=None)

        def read(_: Chalice) -> Any:
            return variable.get()

        def write(_: Chalice, value: Any) -> None:
            variable.set(value)

        return property(read, write)

    names = ("current_request", "lambda_context")
    original = type(app)
    app.__class__ = type(original.__name__, (original,), {name: stored_per_request(name) for name in names})
