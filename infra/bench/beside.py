"""What traders notice of a DUMPLOG: the same replays on one stack, alternately without one and during a long one.

    python -m infra.bench.beside

During a slice of the second kind, the log of all users is written again and again. Nothing is verified. Prints the
median figures of both kinds, and the median of the slices' ratios of p99.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from infra.audit.journals import make_journals
from infra.bench.processes import BenchFailedError
from infra.bench.replays import STACK, Replayed, replay_at, write_workload
from infra.bench.trees import words
from infra.host.arguments import add_examples, positive
from infra.local.background import BackgroundStack, running_stack
from loadgen.workload.generate import generate

_LOG_USERS = 1_000
_DUMP_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.beside", description=__doc__)
    add_examples(parser, "python -m infra.bench.beside --users 45 --rate 1000")
    parser.add_argument("--users", type=positive, default=10, metavar="N", help="(%(default)s)")
    parser.add_argument("--commands", type=positive, default=5_000, help="per slice (%(default)s)")
    parser.add_argument("--rate", type=positive, help="commands per second (default: as fast as answers come)")
    parser.add_argument("--slices", type=positive, default=5, help="of each kind (%(default)s)")
    parser.add_argument("--log", type=positive, default=200_000, metavar="N", help="commands in the log (%(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="day-trading-beside-") as folder:
        alone, beside = _slices(Path(folder), options)
    print(f"without a DUMPLOG: {words(alone)}")
    print(f"beside a DUMPLOG of {options.log:,} commands: {words(beside)}")
    ratios = sorted(one.latency_ms["p99"] / other.latency_ms["p99"] for one, other in zip(beside, alone, strict=True))
    print(f"p99 beside / without: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return 0


def _slices(folder: Path, options: argparse.Namespace) -> tuple[list[Replayed], list[Replayed]]:
    workload = folder / "workload.txt"
    commands = generate(options.users, options.commands, 50, 1)
    write_workload(workload, (command for command in commands if command.user is not None))  # no log but ours
    alone: list[Replayed] = []
    beside: list[Replayed] = []
    with running_stack(folder / "stack", *STACK) as stack:
        with MongoClient[dict[str, Any]](stack.mongo_uri) as client:
            make_journals(client[stack.mongo_database], _LOG_USERS, options.log)

        def replayed() -> Replayed:
            return replay_at(stack.url, stack.operator_token, stack.pids, folder, workload, rate=options.rate)

        replayed()  # warms the server
        for _ in range(options.slices):
            alone.append(replayed())
            with _dumping(stack):
                beside.append(replayed())
    return alone, beside


@contextmanager
def _dumping(stack: BackgroundStack) -> Iterator[None]:
    """Write the log of all users again and again during the block; raises BenchFailedError."""
    over = threading.Event()
    failures: list[OSError] = []

    def dump() -> None:
        authorization = {"Authorization": f"Bearer {stack.operator_token}", "Content-Type": "application/json"}
        body = json.dumps({"filename": "beside.xml"}).encode()
        request = urllib.request.Request(f"{stack.url}/dumplog", body, authorization)  # noqa: S310  # our own
        while not over.is_set() and not failures:
            try:
                urllib.request.urlopen(request, timeout=_DUMP_SECONDS).close()  # noqa: S310  # our own
            except OSError as error:
                failures.append(error)

    thread = threading.Thread(target=dump, name="dump")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise BenchFailedError(f"a log was not written: {failures[0]}")


if __name__ == "__main__":
    sys.exit(main())
