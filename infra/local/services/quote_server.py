"""The quote server as a part of the local stack."""

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from infra.host.ports import HOST
from infra.local.process import Part

_PROJECT = Path(__file__).parents[3]
_PROBE_SECONDS = 2.0


def quote_source(port: int) -> str:
    """Return the setting QUOTE_SOURCE for the quote server on `port`."""
    return f"tcp://{HOST}:{port}"


def quote_server_part(port: int, environment: Mapping[str, str], arguments: Sequence[str] = ()) -> Part:
    """Return a quote server with further command line `arguments`, ready when it answers a statistics request."""
    command = [sys.executable, "-m", "infra.quote_server", "--port", str(port), *arguments]
    return Part("quote-server", command, environment, partial(_why_no_answer, port), stop_seconds=10.0, folder=_PROJECT)


def server_statistics(port: int) -> dict[str, Any]:
    """Return the statistics of the quote server on `port`; raises OSError if it does not answer."""
    with socket.create_connection((HOST, port), timeout=_PROBE_SECONDS) as connection:
        connection.sendall(b"STATS\n")
        with connection.makefile("rb") as answer:
            line = answer.readline()
    try:
        counted: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise OSError(f"it answered {line!r}") from error
    return counted


def _why_no_answer(port: int) -> str | None:
    try:
        server_statistics(port)
    except OSError as error:
        return str(error)
    return None
