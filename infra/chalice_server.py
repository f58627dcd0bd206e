"""Chalice's own local server, with what it takes to be measured by: no 40 ms stall, several workers, a clean stop.

    python -m infra.chalice_server --port 8000 --workers 2

`chalice local` writes an answer's headers and body with two small sends. On a kept-alive connection the second waits
for the acknowledgement of the first (Nagle's algorithm), which the client delays by 40 ms: 23 requests a second. One
buffered write has nothing to wait for. All else is Chalice's: a thread for each connection, its routing, its answers
for unknown paths.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from chalice.cli.factory import CLIFactory
from chalice.local import ChaliceRequestHandler, LocalDevServer, ThreadedHTTPServer

from infra import guard
from infra.gateway.isolation import isolate_threads
from infra.ports import HOST

DEFAULT_STAGE = "local"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.1


class _InFlight:
    """Counts the requests that have begun and are not answered yet."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait_for_none(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, seconds)


_in_flight = _InFlight()


class _Handler(ChaliceRequestHandler):
    wbufsize = -1  # buffered: headers and body leave together, at the flush

    def _answer(self) -> None:
        with _in_flight:
            self._generic_handle()
            self.wfile.flush()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = _answer  # noqa: N815 - http.server's names

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log no line a request: it costs more than the request."""


class _Server(ThreadedHTTPServer):
    request_queue_size = 1024  # the default of 5 drops a load generator's connections
    allow_reuse_port = True  # each worker has its own socket, and Linux deals out the connections


def make_server(project: Path, stage: str, host: str, port: int) -> LocalDevServer:
    """Return a listening server for the Chalice project, with the stage's variables in the environment."""
    factory = CLIFactory(str(project), environ=os.environ)  # by default it sets them in a copy nobody reads
    config = factory.create_config_obj(chalice_stage_name=stage)
    app = config.chalice_app
    isolate_threads(app)
    return LocalDevServer(app, config, host, port, handler_cls=_Handler, server_cls=_Server)


def serve(options: argparse.Namespace, number: int) -> None:
    """Serve as one worker until a signal to stop, then finish what has begun."""
    os.environ["SERVER_NAME"] = f"{options.name}-{number}"
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")  # as `chalice local` does
    server = make_server(options.project, options.stage, options.host, options.port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    signal.sigwait(_STOP_SIGNALS)
    server.shutdown()
    if not _in_flight.wait_for_none(_GRACE_SECONDS):
        print(f"gave up on requests that took longer than {_GRACE_SECONDS:g} s", flush=True)
    server.server.socket.close()


def _work(serve_one: Callable[[argparse.Namespace, int], None], parent_pid: int, *arguments: Any) -> None:
    guard.die_with_parent(parent_pid)
    serve_one(*arguments)


def serve_with_workers(options: argparse.Namespace) -> int:
    """Run the workers as processes until a signal to stop; return 1 when one of them ended by itself."""
    fork = multiprocessing.get_context("fork")
    workers: list[BaseProcess] = [
        fork.Process(target=_work, args=(serve, os.getpid(), options, number), name=f"{options.name}-{number}")
        for number in range(1, options.workers + 1)
    ]
    for worker in workers:
        worker.start()
    status = 0
    while status == 0 and signal.sigtimedwait(_STOP_SIGNALS, _POLL_SECONDS) is None:
        for worker in workers:
            if not worker.is_alive():
                print(f"{worker.name} died (exit code {worker.exitcode})", flush=True)
                status = 1
    _stop(workers)
    return status


def _stop(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS + 1
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()
        worker.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.chalice_server", description="Serve as `chalice local`.")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--name", default=os.environ.get("SERVER_NAME", "chalice"), help="workers are NAME-1...")
    parser.add_argument("--project", type=Path, default=Path.cwd(), help="folder of app.py and .chalice")
    parser.add_argument("--stage", default=DEFAULT_STAGE)
    options = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # they are waited for, in every worker too
    if options.workers > 1:
        return serve_with_workers(options)
    serve(options, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
