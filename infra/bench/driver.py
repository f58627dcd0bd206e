"""The floor as a program: a workload's writes with the bare driver, with as much concurrency as there are users.

    python -m infra.bench.driver --mongo-uri URI --users 45 --commands 10000

First each update alone (`single`), then concurrent ones in one message (`grouped`), each kind in its own database; it
prints both as JSON. A thread per user makes that user's writes in order, each when the previous one is durable, as a
client of the system waits for each answer.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pymongo.database import Database

from chalicelib.connections import connect_database
from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.grouped.writer import GroupWriter
from infra.bench.bare import BareDriver
from infra.bench.recorded_writes import RecordedWrite, record
from infra.host.arguments import add_examples, positive
from infra.local.part_settings import settings_with
from infra.local.parts import GROUPED_WRITES
from loadgen.workload.generate import generate

KINDS = {"single": 1, "grouped": int(GROUPED_WRITES)}
"""The most updates in one message."""


def drive(database: Database[Document], tapes: Sequence[Sequence[RecordedWrite]], most: int) -> dict[str, float]:
    """Make the writes, with a thread for each tape and at most `most` in one message; return the figures."""
    accounts, journal = database["accounts"], database["journal"]
    writer = BareDriver(accounts) if most == 1 else GroupWriter(accounts, most)
    latencies: list[float] = []
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(tapes) + 1)

    def write(tape: Sequence[RecordedWrite]) -> None:
        took = []
        try:
            accounts.find_one({"_id": tape[0].guarded.user})  # connects before the clock runs
            barrier.wait()
            for one in tape:
                began = time.perf_counter()
                if one.part is not None:
                    journal.insert_one(one.part)
                writer.write(one.guarded)
                took.append(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001  # told below, by the thread that waits
            failures.append(error)
            barrier.abort()
        latencies.extend(took)

    threads = [threading.Thread(target=write, args=(tape,)) for tape in tapes]
    for thread in threads:
        thread.start()
    _passed(barrier.wait, failures)
    began_s, began, cpu_s = time.time(), time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    writer.close()
    if failures:
        raise failures[0]
    return {
        "writes": len(latencies),
        "began_s": began_s,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "p50_ms": statistics.median(latencies) * 1000,
        "bytes": statistics.mean(one.size_bytes for tape in tapes for one in tape),
    }


def _passed(wait: Callable[[], Any], failures: Sequence[BaseException]) -> None:
    try:
        wait()
    except threading.BrokenBarrierError:
        raise (failures[0] if failures else AssertionError("the threads did not start")) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.driver", description=__doc__)
    add_examples(
        parser,
        "python -m infra.bench.driver --mongo-uri mongodb://127.0.0.1:27017 --users 45 --commands 10000",
    )
    parser.add_argument("--mongo-uri", required=True)
    parser.add_argument("--users", type=positive, required=True)
    parser.add_argument("--commands", type=positive, required=True)
    parser.add_argument("--symbols", type=positive, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    scratch = connect_database(settings_with(MONGO_URI=options.mongo_uri, MONGO_DATABASE="scratch"))
    lines = generate(options.users, options.commands, options.symbols, options.seed)
    tapes = list(record(scratch, lines).values())
    found = {}
    for kind, most in KINDS.items():
        database = scratch.client.get_database(kind, write_concern=scratch.write_concern)
        found[kind] = drive(database, tapes, most)
        if applied(database) != found[kind]["writes"]:
            print(f"{kind}: not every write was applied", file=sys.stderr)
            return 1
    scratch.client.close()
    print(json.dumps(found))
    return 0


def applied(database: Database[Document]) -> int:
    """Return how many writes the accounts have seen: the sum of their versions."""
    accounts = database["accounts"].find({}, {f"{STATE}.version": 1})
    return sum(state_of(account)["version"] for account in accounts)


if __name__ == "__main__":
    sys.exit(main())
