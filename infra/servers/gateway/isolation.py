"""A Chalice app keeps its current request in its own attributes; a concurrent server needs one for each request."""

from contextvars import ContextVar
from typing import Any

from chalice.app import Chalice


def isolate_requests(app: Chalice) -> None:
    """Give every thread and every greenlet its own `current_request` and `lambda_context` of `app`, initially None.

    Without it concurrent requests see each other's: Chalice expects one at a time, as in a Lambda container. The app's
    class is changed in place, because views and blueprints hold on to this very object.
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
