"""Groups of writes as the gateway sends them, each request a greenlet; prints the steps in order.

python -m tests.integration.cooperative_groups MONGO_URI DATABASE
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - nothing may be imported before it is patched
import time  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from pymongo import MongoClient  # noqa: E402

from chalicelib.store.documents import Document  # noqa: E402
from chalicelib.store.grouped.writer import GroupWriter  # noqa: E402
from tests.integration.writes import write_of  # noqa: E402


def main(uri: str, name: str) -> None:
    """Write five accounts at the same time, in groups of two."""
    events: list[str] = []
    client: MongoClient[Document] = MongoClient(uri)
    database = client[name]

    class Noting:
        """The accounts, and the database they are in."""

        def __init__(self) -> None:
            self.database = self

        def __getattr__(self, attribute: str) -> Any:
            return getattr(database["accounts"], attribute)

        def command(self, command: dict[str, Any]) -> Any:
            events.append(f"send {len(command['updates'])}")
            time.sleep(0.05)  # others are served meanwhile
            return database.command(command)

    writer = GroupWriter(Noting(), limit=2)  # type: ignore[arg-type]  # a collection that notes

    def write(number: int) -> None:
        writer.write(write_of(f"user{number}", 0, b"attempt!"))
        events.append(f"told {number}")

    gevent.joinall([gevent.spawn(write, number) for number in range(5)], raise_error=True)
    writer.close()
    sys.stdout.write("\n".join(events))


if __name__ == "__main__":
    main(*sys.argv[1:])
