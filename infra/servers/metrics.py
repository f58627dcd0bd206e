"""GET /metrics of the local servers: what was seen of commands, over all processes of a server.

It is no route of the app: in the cloud each function would tell only of itself, and CloudWatch makes metrics from the
log there. The same observation feeds both (`chalicelib/observe`).

prometheus_client adds up over processes by files in a folder, and looks for it when it is imported: so the folder is
made first, and the import is where a worker begins. What the stack's ticker counts, its sweeps, stands in a folder of
its own: each server that knows it tells of that as well, for the ticker listens nowhere.
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
"""Names, in a server's environment, the folder of the ticker's counters; without it a server tells of no sweeps."""

Page = Callable[[str | None], HttpAnswer]
Apart = Callable[[Callable[..., Any], tuple[Any, ...]], Any]
"""Calls a function with arguments, perhaps on another thread, and returns what it returns."""


def _here(call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return call(*arguments)


@contextmanager
def folder() -> Iterator[None]:
    """Have a folder for the counters of this server's processes: the one in the environment, emptied, or a new one."""
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
    """Start the app of a module in this process, if it has a `start`, and return its metrics page.

    The page is put together by `apart`: it takes some 20 ms, which others need not wait for.
    A setting that is wrong, and data of a form that this build does not know, end the process, after it has said so.
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
