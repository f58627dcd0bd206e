"""Collects spans by OTLP over HTTP (protobuf) into a folder, from which the stack's traces are read.

python -m infra.traces.collector --port 4318 --folder .data/traces
"""

import argparse
import signal
import sys
import threading
import zlib
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no types of its own

from infra.host.arguments import add_examples, port
from infra.host.ports import HOST
from infra.host.signals import STOP_SIGNALS
from infra.traces.files import SpanFiles
from infra.traces.otlp import from_otlp
from infra.traces.spans import Span

PATH = "/v1/traces"
MOST_BYTES = 8 * 1024 * 1024
"""The limit of one export. The SDK sends 512 spans at a time, some 300 KB."""

_IDLE_SECONDS = 30.0
_GZIP = 16 + zlib.MAX_WBITS

Keep = Callable[[Sequence[Span]], None]
"""Stores collected spans."""


class Collector(ThreadingHTTPServer):
    """An HTTP server, on a free port for port 0; `keep` gets the spans of each request."""

    daemon_threads = True

    def __init__(self, at: int, keep: Keep) -> None:
        super().__init__((HOST, at), _Handler)
        self._keep = keep
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://{HOST}:{self.server_port}"

    def take(self, spans: Sequence[Span]) -> None:
        """Keep the spans of one request."""
        with self._lock:
            self._keep(spans)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: Collector

    def do_POST(self) -> None:
        """Accept an export."""
        told = self.headers.get("Content-Length", "")
        length = int(told) if told.isascii() and told.isdigit() and len(told) < 10 else MOST_BYTES + 1
        if self.path != PATH or length > MOST_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.NOT_FOUND if self.path != PATH else HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            self.server.take(list(from_otlp(self._plain(self.rfile.read(length)))))
        except (DecodeError, zlib.error):
            self._answer(HTTPStatus.BAD_REQUEST)
        else:
            self._answer(HTTPStatus.OK)

    def _plain(self, body: bytes) -> bytes:
        """Return the uncompressed body, MOST_BYTES of it at most; raises zlib.error."""
        if self.headers.get("Content-Encoding") != "gzip":
            return body
        return zlib.decompressobj(_GZIP).decompress(body, MOST_BYTES)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # as it is called there
        """Log nothing for each request."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.traces.collector", description=__doc__)
    add_examples(parser, "python -m infra.traces.collector --port 4318 --folder .data/traces")
    parser.add_argument("--port", type=port, default=4318, help="(%(default)s)")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where spans are kept")
    options = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with Collector(options.port, SpanFiles(options.folder).add) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        signal.sigwait(STOP_SIGNALS)
        collector.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
