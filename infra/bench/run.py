"""A run: all sections, round after round, into a record, complete or as far as it came."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from pymongo.errors import PyMongoError

from infra.bench import record as records
from infra.bench.context import Bench, Progress, Section, due
from infra.bench.processes import BenchFailedError
from infra.bench.record import Record
from infra.bench.sizes import Sizes
from infra.bench.verdicts import judge
from infra.local.folder import DEFAULT_FOLDER

FOLDER = DEFAULT_FOLDER / "bench"
"""The folder of runs, and of records that are not to be committed."""

_PREFIX = "run-"


def run(sections: Sequence[Section], sizes: Sizes, rounds: int, *, quick: bool) -> Record:
    """Measure and return the record; `complete` says whether everything was done and verified, `ended` why not."""
    record = records.begin(sections, sizes, rounds, quick=quick)
    progress = Progress(sections, rounds)
    try:
        with _folder() as folder:
            bench = Bench(sizes, folder, progress.say)
            for section in sections:
                section.set_up(bench)
            for number in range(1, rounds + 1):
                _round(record, bench, sections, progress, number)
        record["complete"] = True
    except KeyboardInterrupt:
        record["ended"] = "interrupted"
    except (BenchFailedError, PyMongoError, OSError) as error:
        record["ended"] = f"failed: {error}"
    record["seconds"] = records.seconds_since(record)
    record["verdicts"] = [{"demand": one.demand, "found": one.found, "passed": one.passed} for one in judge(record)]
    return record


def _round(record: Record, bench: Bench, sections: Sequence[Section], progress: Progress, number: int) -> None:
    bench.next_round()
    about = {"load_before": records.load_average(), "load_after": None}
    record["rounds"].append(about)
    for section in due(sections, number):
        progress.begin(section.name, number)
        records.add(record, section.name, section.run(bench))
        progress.end(section.name)
    about["load_after"] = records.load_average()


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a folder for the run, and remove those of killed runs."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for left in FOLDER.glob(f"{_PREFIX}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(_PREFIX))):
            shutil.rmtree(left, ignore_errors=True)
    folder = (FOLDER / f"{_PREFIX}{os.getpid()}").resolve()
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say_how_it_ended(record: Record, path: Path) -> None:
    """Report on stderr how far an unfinished run came."""
    done = sum(about["load_after"] is not None for about in record["rounds"])
    print(f"{record['ended']}; {done} whole rounds were done, what was measured is in {path}", file=sys.stderr)
