"""GET /metrics of the local servers: the metrics of a server.

It is not a route of the app: in the cloud each function would report only itself, and CloudWatch makes metrics from the
log there. Both use the same observations (`chalicelib/observe`).

The ticker listens nowhere: it writes its counters to a file, and each server that knows the file reports them too.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client import REGISTRY

from chalicelib.config.settings import SettingError
from chalicelib.domain.errors import TradingError, UnknownDataVersionError
from chalicelib.http.headers import SECURITY_HEADERS
from chalicelib.http.problems import error_response
from infra.servers.counters import Counters, text
from infra.servers.gateway.problems import HttpAnswer, problem

PATH = "/metrics"
REFUSAL = problem("method_not_allowed", "this path takes GET, HEAD", ("Allow", "GET, HEAD"))

SWEEPS_FILE = "TICKER_METRICS_FILE"
"""The environment variable for the file of the ticker's counters; without it they are not reported."""

Page = Callable[[str | None], HttpAnswer]
Apart = Callable[[Callable[..., Any], tuple[Any, ...]], Any]
"""Calls a function with arguments, perhaps on another thread, and returns its result."""


def _here(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return call(*arguments)


def sweeps_file() -> Path | None:
    """Return where the ticker's counters are, None when nobody says."""
    path = os.environ.get(SWEEPS_FILE)
    return Path(path) if path else None


def start(module: ModuleType, apart: Apart = _here) -> Page | None:
    """Start a module's app in this process, if it has a `start`, and return its metrics page.

    The page is rendered by `apart`: it takes some 20 ms, for which others need not wait. A wrong setting, and an
    unsupported data version, end the process after a message.
    """
    if not hasattr(module, "start"):
        logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
        return None
    try:
        module.start()
    except SettingError as error:
        sys.exit(str(error))
    from chalicelib.runtime import check_data, prepare, runtime  # noqa: PLC0415 - only an app that has parts brings them

    try:
        check_data()
    except UnknownDataVersionError as error:
        sys.exit(str(error))
    parts = runtime()
    prepare()
    counters = Counters()
    parts.observers.add(counters)
    parts.observers.add_for_groups(counters.group_sent)

    def page(authorization: str | None) -> HttpAnswer:
        try:
            parts.tokens.check(authorization).must_be_operator()
        except TradingError as error:
            refusal = error_response(error)
            headers = [(name, str(value)) for name, value in refusal.headers.items()]
            return HttpAnswer(refusal.status_code, [*headers, *SECURITY_HEADERS.items()], str(refusal.body).encode())
        content_type, body = apart(text, (REGISTRY, os.environ["SERVER_NAME"], sweeps_file()))
        return HttpAnswer(200, [("Content-Type", content_type), *SECURITY_HEADERS.items()], body)

    return page
