"""Write one log and exit: a server starts this for a long log (`chalicelib/audit/process.py`).

python -m chalicelib.write_dump DUMP
"""

import os
import sys
from functools import partial

from chalicelib import concurrency
from chalicelib.audit.dumps import Dumps
from chalicelib.audit.journal import Pace
from chalicelib.config.settings import settings
from chalicelib.connections import LOG_TIMEOUT_MS, connect_database
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.observe.logs import set_up_logs
from chalicelib.runtime import make_instruments, make_place
from chalicelib.store.database_clock import database_ms

PACE = Pace(slice_entries=50_000, rests=2.0)
"""MongoDB works on it for at most a third of the time, some tenths of a second at once."""


def main(dump_id: str) -> int:
    """Write the dump; return the exit status."""
    instruments = make_instruments(settings())
    set_up_logs(settings().log_level, trace_id=instruments.trace_id)
    concurrency.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    database = connect_database(settings(), LOG_TIMEOUT_MS, instruments)
    place = make_place(settings().dump_place, settings().dump_link_seconds, settings().dump_bucket_owner)
    try:
        with instruments.going_on(os.environ, "dump process"):
            Dumps(database, place, partial(database_ms, database), pace=PACE).go_on(dump_id, limit_ms=0)
    except StoreUnavailableError:
        return 1  # why is in the log
    finally:
        database.client.close()
        instruments.close()
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
