"""Chalice, made safe for servers that answer several requests at once."""

import threading
from typing import Any

from chalice.app import Chalice, Request


class TradingApp(Chalice):
    """A Chalice app whose current request and context belong to the thread that answers it.

    Chalice keeps both on the app, which is right in Lambda, where a container serves one request at a time, and wrong
    in a server with threads.
    """

    _own = threading.local()

    @property
    def current_request(self) -> Request | None:
        """Return the request that this thread answers."""
        return getattr(self._own, "request", None)

    @current_request.setter
    def current_request(self, request: Request | None) -> None:
        self._own.request = request

    @property
    def lambda_context(self) -> Any:
        """Return the Lambda context of the request that this thread answers."""
        return getattr(self._own, "context", None)

    @lambda_context.setter
    def lambda_context(self, context: Any) -> None:
        self._own.context = context
