"""Single parts of the stack for sections that need no more: a mongod, a Redis, a server without either."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from infra.bench.processes import BenchFailedError
from infra.host.ports import free_port
from infra.local import process as parts
from infra.local.parts import why_not_healthy
from infra.local.process import Part, PartError, RunningPart
from infra.local.services.mongo import ARBITER, arbiter_part, mongo_uri, mongod_part
from infra.local.services.redis_server import redis_part, redis_url
from infra.local.stack import PROJECT


@contextmanager
def mongod(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Run an empty mongod like the stack's, with more options; yields its address and its process id."""
    place, port, arbiter_port = folder / "mongod", free_port(), free_port()
    part = mongod_part(place, port, os.environ, arbiter_port=arbiter_port)
    with (
        running(arbiter_part(folder / ARBITER, arbiter_port, os.environ), folder),
        running(replace(part, command=[*part.command, *options]), folder) as started,
    ):
        yield mongo_uri([port]), started.pid
    shutil.rmtree(place)
    shutil.rmtree(folder / ARBITER)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run an empty Redis like the stack's; yields its address."""
    port = free_port()
    with running(redis_part(folder / "redis", port, os.environ), folder):
        yield redis_url(port)


@contextmanager
def server(
    folder: Path, module: str, arguments: Sequence[str], environment: dict[str, str]
) -> Iterator[tuple[int, int]]:
    """Run a server that takes --port; yields its port and its process id."""
    port = free_port()
    command = [sys.executable, "-m", module, "--port", str(port), *arguments]
    part = Part("server", command, {**os.environ, **environment}, partial(why_not_healthy, port), folder=PROJECT)
    with running(part, folder) as started:
        yield port, started.pid


@contextmanager
def running(part: Part, folder: Path) -> Iterator[RunningPart]:
    """Run a part, with its log in the folder; raises BenchFailedError if it does not become ready."""
    started = parts.start(part, folder / "logs")
    try:
        started.wait_until_ready()
        yield started
    except PartError as error:
        raise BenchFailedError(str(error)) from error
    finally:
        started.kill()  # nothing of it is needed any more
