"""The record of a run as JSON: machine, versions, command, and every figure of every round (docs/performance.md)."""

import importlib.metadata
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.bench.context import Section
from infra.bench.figures import Measured, add_round
from infra.bench.sizes import Sizes
from infra.host.binaries import find_mongod, find_redis_server
from infra.local.stack import PROJECT
from loadgen.results import machine

FORMAT = 1
"""The version of the record format."""

RESULTS = PROJECT / "bench" / "results"
"""The folder of committed records."""

_PACKAGES = ("chalice", "gevent", "httptools", "pymongo", "redis")

Record = dict[str, Any]


class RecordError(Exception):
    """A file that is not a record, or a record that is missing."""


def begin(sections: Sequence[Section], sizes: Sizes, rounds: int, *, quick: bool) -> Record:
    """Return the record of a run that begins now."""
    commit, dirty = _commit()
    described = machine.describe()
    cache = find_redis_server()
    return {
        "bench": FORMAT,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
        "complete": False,
        "ended": None,
        "commit": commit,
        "dirty": dirty,
        "machine": {name: described[name] for name in ("cpu", "cores", "memory_gb", "system")},
        "versions": {
            "python": described["python"],
            "mongod": find_mongod().version,
            cache.path.name: cache.version,
            **{f"{name} (Python)" if name == "redis" else name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "settings": {
            "rounds": rounds,
            "quick": quick,
            "sections": [section.name for section in sections],
            "sizes": json.loads(json.dumps(asdict(sizes))),
        },
        "rounds": [],
        "sections": {section.name: {"measures": section.measures, "figures": {}} for section in sections},
    }


def with_sections(kept: Record, run: Record, names: Sequence[str]) -> Record:
    """Return a record with some sections replaced by those of a later run, in the order of `names`.

    Each of these says which run it is from. Raises RecordError for a run of other sizes, whose figures cannot be
    compared.
    """
    old, new = (one["settings"]["sizes"] for one in (kept, run))
    if other := [name for name in old if name in new and old[name] != new[name]]:
        raise RecordError(f"the kept record is of other sizes ({', '.join(other)}): measure all sections (make bench)")
    of = {name: run[name] for name in ("started_at", "commit", "dirty", "machine", "rounds")}
    known = kept["sections"] | {name: {**section, "run": of} for name, section in run["sections"].items()}
    merged = {name: known[name] for name in names if name in known}
    return {**kept, "sections": merged, "settings": {**kept["settings"], "sections": list(merged), "sizes": old | new}}


def add(record: Record, section: str, found: Sequence[Measured]) -> None:
    """Add a section's measurements of a round."""
    add_round(record["sections"][section]["figures"], found)


def load_average() -> float:
    """Return the average number of running or runnable processes in the last minute."""
    return round(os.getloadavg()[0], 2)


def name_of(record: Record) -> str:
    """Return the file name of a record: its time and commit, so that names sort by time."""
    began = datetime.fromisoformat(record["started_at"])
    return f"{began:%Y-%m-%d-%H%M}-{record['commit'] or 'unknown'}.json"


def write(path: Path, record: Record) -> None:
    """Write a record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Record:
    """Return the record in a file; raises RecordError."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RecordError(f"{path} is not a record: {error}") from error
    if not isinstance(record, dict) or record.get("bench") != FORMAT:
        raise RecordError(f"{path} is not a record of this version of the benchmark")
    return record


def newest(folder: Path = RESULTS, *, committed: bool = False) -> Path:
    """Return the newest record in a folder, or only of committed ones; raises RecordError."""
    records = sorted(folder.glob("*.json"))
    if committed:
        known = _git("ls-files", str(folder))
        records = records if known is None else [path for path in records if path.name in _names(known)]
    if not records:
        raise RecordError(f"there is no record in {folder} yet: make bench")
    return records[-1]


def figure(record: Mapping[str, Any], section: str, key: str) -> Mapping[str, Any] | None:
    """Return a figure, or None if the run did not measure it."""
    found: Mapping[str, Any] | None = record["sections"].get(section, {"figures": {}})["figures"].get(key)
    return found


def _names(listing: str) -> set[str]:
    return {Path(line).name for line in listing.splitlines()}


def _commit() -> tuple[str | None, bool | None]:
    """Return the short commit, and whether the files differ from it; None if git does not know."""
    commit, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    return (commit and commit.strip()), (None if changes is None else bool(changes.strip()))


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def seconds_since(record: Record) -> float:
    """Return how long ago a run began."""
    return round(time.time() - datetime.fromisoformat(record["started_at"]).timestamp(), 1)
