"""A Chalice app keeps the request it works on in attributes of itself; on a server with threads each needs its own."""

import threading
from typing import Any

from chalice.app import Chalice


def isolate_threads(app: Chalice) -> None:
    """Give every thread its own `current_request` and `lambda_context` of `app`, None before the first.

    Without it requests that run at the same time see each other's: Chalice expects one at a time, as in a Lambda
    container. The app changes its class in place, because views and blueprints hold on to this very object.
    """
    per_thread = threading.local()

    def stored_per_thread(name: str) -> property:
        def read(_: Chalice) -> Any:
            return getattr(per_thread, name, None)

        def write(_: Chalice, value: Any) -> None:
            setattr(per_thread, name, value)

        return property(read, write)

    names = ("current_request", "lambda_context")
    original = type(app)
    app.__class__ = type(original.__name__, (original,), {name: stored_per_thread(name) for name in names})
