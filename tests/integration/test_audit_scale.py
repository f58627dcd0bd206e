"""A dump of a large journal: as fast as it must be and in a memory that does not grow with the log."""

import json
import subprocess
import sys
from typing import Any

from infra.local.stack import PROJECT

MOST_MB = 200
"""Above idle, however large the log."""


def measured(mongo_uri: str, database: str, users: int, commands: int) -> dict[str, Any]:
    size = ["--users", str(users), "--commands", str(commands)]
    ended = subprocess.run(
        [sys.executable, "-m", "infra.audit", "bench", "--mongo-uri", mongo_uri, "--database", database, *size],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_neither_memory_nor_the_time_for_an_event_grows_with_the_log(mongo_uri: str, mongo_database: str) -> None:
    """Four times the log takes some megabytes more at most, and far less than what it may.

    The time is that of the process: on a machine shared with other work the wall clock says more of that.
    """
    small = measured(mongo_uri, mongo_database, users=200, commands=20_000)
    large = measured(mongo_uri, mongo_database, users=200, commands=80_000)
    assert large["events"] > 3.5 * small["events"]
    assert large["peak_mb_above_idle"] < MOST_MB / 2
    assert large["peak_mb_above_idle"] < small["peak_mb_above_idle"] + 25
    assert large["events"] / large["cpu_seconds"] > 50_000


def test_memory_does_not_grow_with_the_users(mongo_uri: str, mongo_database: str) -> None:
    """Most of these have only an open part."""
    found = measured(mongo_uri, mongo_database, users=30_000, commands=30_000)
    assert found["peak_mb_above_idle"] < MOST_MB / 2
