"""The Lambda function that continues long dumps: how it is started, and what it does (docs/audit.md)."""

import json
from collections.abc import Callable
from typing import Any, Protocol

from chalicelib.audit.places import PlaceError

MARGIN_MS = 15_000
"""The time a function reserves to finish a part, save a checkpoint and start its successor."""


class Writes(Protocol):
    """What continues a dump; see `chalicelib.audit.dumps.Dumps`."""

    def go_on(self, dump_id: str, limit_ms: int) -> bool:
        """Continue, and start a successor if the time is not enough."""


def starter(function: str) -> Callable[[str], None]:
    """Return a function that starts the named Lambda function for a dump, without waiting for it. Raises PlaceError."""

    def start(dump_id: str) -> None:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  # only where dumps are handed over
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415

        try:
            payload = json.dumps({"dump": dump_id}).encode()
            boto3.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=payload)
        except (BotoCoreError, ClientError) as error:
            raise PlaceError(f"the function {function} could not be started: {error}") from error

    return start


def go_on(dumps: Writes, event: Any, remaining_ms: int) -> dict[str, Any]:
    """Continue the dump that an event of `starter` names, within the function's remaining time.

    Raises StoreUnavailableError: Lambda then retries the function.
    """
    dump_id = str(event["dump"])
    return {"dump": dump_id, "done": dumps.go_on(dump_id, max(0, remaining_ms - MARGIN_MS))}
