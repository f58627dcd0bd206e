"""Accounts for comparison: requested from a server, or read from a file with one JSON object per line."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from infra.audit.logfile import UnreadableLogError

_TIMEOUT_SECONDS = 30.0
_PAGE = 200
_TRADES = frozenset({"order_committed", "trigger_fired"})
"""The kinds of events in which shares change hands."""


def from_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield user and summary from a file of summaries, in the format of `GET /users/{user}/summary`."""
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007  # named in the error
                if line.strip():
                    summary = json.loads(line)
                    yield str(summary["user"]), summary
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableLogError(f"{path}, line {number}: {error!r}") from error


class _History:
    """What a user holds, from the events of a history, newest first."""

    def __init__(self) -> None:
        self._shares: Counter[str] = Counter()
        self._latest: dict[str, int] = {}
        """Whether an order or trigger exists, by its latest event."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next older event."""
        kind, side = event["kind"], event.get("side")
        if kind in _TRADES:
            self._shares[f"shares of {event['symbol']}"] += event["shares"] if side == "buy" else -event["shares"]
        if kind.startswith("order_"):
            self._latest.setdefault(_order(event), int(kind == "order_placed"))
        elif kind.startswith("trigger_"):
            self._latest.setdefault(_trigger(side, event), int(kind == "trigger_set"))

    def holding(self) -> dict[str, int]:
        """Return counts of shares, orders and triggers."""
        return {what: count for what, count in (self._shares | self._latest).items() if count}


def _order(fields: Mapping[str, Any]) -> str:
    return f"orders {fields['order']}"


def _trigger(side: str | None, fields: Mapping[str, Any]) -> str:
    return f"{side} triggers of {fields['symbol']}"


class AskedServer:
    """A server that is asked over one connection. Raises UnreadableLogError."""

    def __init__(self, url: str, token: str) -> None:
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or address.hostname is None:
            raise UnreadableLogError(f"{url} is not an http address")
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(address.hostname, address.port, timeout=_TIMEOUT_SECONDS)
        self._url, self._folder = url, address.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def summary(self, user: str) -> dict[str, Any]:
        """Return a user's summary, which is a command."""
        return self._get(user, "summary")

    def holding(self, user: str) -> tuple[dict[str, int], dict[str, int] | None]:
        """Return what a user holds by the account and by the history, None for a history of which some is archived.

        Each is a count by item: shares of a symbol, an open order, a trigger.
        """
        account = self._get(user, "account")
        held = {f"shares of {symbol}": position["shares"] for symbol, position in account["positions"].items()}
        held |= {_order(order): 1 for side in ("buys", "sells") for order in account[f"pending_{side}"]}
        for side in ("buy", "sell"):
            triggers = account[f"{side}_triggers"]
            held |= {_trigger(side, trigger): 1 for trigger in triggers if trigger["price"] is not None}
        history = _History()
        expected = account["version"]
        while expected:
            entries = self._get(user, f"history?limit={_PAGE}&before={expected + 1}")["entries"]
            if not entries:
                return held, None
            for entry in entries:
                if entry["sequence"] != expected:
                    raise UnreadableLogError(f"{self._url}: entry {expected} is missing from the history of {user}")
                expected -= 1
                for event in reversed(entry["events"]):
                    history.take(event)
        return held, history.holding()

    def _get(self, user: str, what: str) -> dict[str, Any]:
        try:
            self._connection.request("GET", f"{self._folder}/users/{quote(user)}/{what}", headers=self._headers)
            response = self._connection.getresponse()
            body = response.read()
            if response.status == http.HTTPStatus.OK:
                answer: dict[str, Any] = json.loads(body)
                return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreadableLogError(f"{self._url}: {error!r}") from error
        raise UnreadableLogError(f"{self._url}: the {what.partition('?')[0]} of {user} was answered {response.status}")
