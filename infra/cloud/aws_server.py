"""A substitute for AWS: moto's server."""

import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.host.ports import HOST, free_port
from infra.local import process as parts
from infra.local.process import Part

AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Credentials without access to anything."""


@contextmanager
def aws_server(folder: Path, server: Sequence[str] = ("-m", "moto.server")) -> Iterator[str]:
    """Run the server with these arguments to Python; its log goes to the folder. Yields its URL."""
    port = free_port()
    url = f"http://{HOST}:{port}"

    def why_not_ready() -> str | None:
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=2).close()  # noqa: S310  # our own
        except OSError as error:
            return str(error)
        return None

    part = Part("aws", [sys.executable, *server, "-p", str(port)], {**os.environ, **AWS}, why_not_ready)
    process = parts.start(part, folder)
    try:
        process.wait_until_ready()
        yield url
    finally:
        process.kill()
