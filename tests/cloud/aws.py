"""A server in the place of AWS, for what deploys."""

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.host.ports import HOST, free_port
from infra.local import process as parts
from infra.local.process import Part
from tests.integration.audit_parts import AWS


@contextmanager
def aws_server(folder: Path) -> Iterator[str]:
    """Run the server; yields its address."""
    port = free_port()
    url = f"http://{HOST}:{port}"

    def why_not_ready() -> str | None:
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=2).close()  # noqa: S310  # our own
        except OSError as error:
            return str(error)
        return None

    server = str(Path(__file__).with_name("moto_server.py"))
    part = Part("aws", [sys.executable, server, "-p", str(port)], {**os.environ, **AWS}, why_not_ready)
    process = parts.start(part, folder)
    try:
        process.wait_until_ready()
        yield url
    finally:
        process.kill()
