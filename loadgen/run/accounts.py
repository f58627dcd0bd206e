"""Reads accounts before and after a run, with requests that are not commands and leave no trace."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadgen.client.retry import Outcome, parse_object
from loadgen.run.scheduler import RoundRobin, Turn, work_through
from loadgen.run.server import Client, Server, TokenRefusedError, explain


@dataclass(frozen=True, slots=True)
class AccountReading:
    """The result of reading an account: its body, and the latest entries of its journal, newest first.

    `outcome` is that of the request that failed, else of the account's; in the latter case `account` is not None.
    """

    outcome: Outcome
    account: dict[str, Any] | None = None
    entries: Sequence[dict[str, Any]] = ()


def read_accounts(
    users: Sequence[str], server: Server, clients: Sequence[Client], stopping: threading.Event, entries: int
) -> dict[str, AccountReading]:
    """Return each user's account as the server shows it, with that many entries of its journal.

    Users are missing if `stopping` was set. Raises TokenRefusedError at the first account that the token may not read.
    """
    dialect = server.trading()
    readings: dict[str, AccountReading] = {}
    refused: list[Outcome] = []

    def read(client: Client, turn: Turn[str]) -> None:
        user = turn.item
        outcome = client.read(dialect.account(user))
        account = parse_object(outcome.body) if outcome.status == 200 else None
        if account is None:
            readings[user] = AccountReading(outcome)
        elif not isinstance(version := account.get("version"), int) or version == 0:
            readings[user] = AccountReading(outcome, account)
        else:
            journal = client.read(dialect.history(user, version, entries))
            found = parse_object(journal.body) if journal.status == 200 else None
            told = None if found is None else found.get("entries")
            readings[user] = AccountReading(journal) if told is None else AccountReading(outcome, account, told)
        if readings[user].outcome.refused:
            refused.append(readings[user].outcome)
            stopping.set()

    work_through(clients, RoundRobin((user,) for user in users), read, stopping)
    if refused:
        raise TokenRefusedError(f"the server does not accept the token: {explain(refused[0])}")
    return readings
