"""GET /metrics of the local servers: metrics of commands, over all processes of a server.

It is not a route of the app: in the cloud each function would report only itself, and CloudWatch makes metrics from the
log there. Both use the same observations (`chalicelib/observe`).

prometheus_client adds up over processes by files in a folder, which must exist when it is imported: so the folder is
created first, and the import is where a worker begins. The ticker's counters are in a folder of their own, which each
server that knows it reports too: the ticker does not listen anywhere.
"""

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from chalicelib.config.settings import SettingError
from chalicelib.domain.errors import TradingError, UnknownDataVersionError
from chalicelib.http.headers import SECURITY_HEADERS
from chalicelib.http.problems import error_response
from infra.servers.gateway.problems import HttpAnswer, problem

PATH = "/metrics"
REFUSAL = problem("method_not_allowed", "this path takes GET, HEAD", ("Allow", "GET, HEAD"))

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SWEEPS_FOLDER = "TICKER_METRICS_DIR"
"""The environment variable for the folder of the ticker's counters; without it a server reports no sweeps."""

Page = Callable[[str | None], HttpAnswer]
Apart = Callable[[Callable[..., Any], tuple[Any, ...]], Any]
"""Calls a function with arguments, perhaps on another thread, and returns its result."""


def _here(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return call(*arguments)


@contextmanager
def folder() -> Iterator[None]:
    """Create the folder of this server's counters: the one in the environment, emptied, or a temporary one."""
    given = os.environ.get(_FOLDER)
    path = Path(given or tempfile.mkdtemp(prefix="day-trading-metrics-"))
    path.mkdir(parents=True, exist_ok=True)
    for old in path.glob("*.db"):
        old.unlink()
    os.environ[_FOLDER] = str(path)
    try:
        yield
    finally:
        if given is None:
            shutil.rmtree(path, ignore_errors=True)


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
    from infra.servers.counters import Counters, text  # noqa: PLC0415 - the folder must be there first

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
        folders = [Path(os.environ[name]) for name in (_FOLDER, SWEEPS_FOLDER) if name in os.environ]
        content_type, body = apart(text, ([folder for folder in folders if folder.is_dir()],))
        return HttpAnswer(200, [("Content-Type", content_type), *SECURITY_HEADERS.items()], body)

    return page
