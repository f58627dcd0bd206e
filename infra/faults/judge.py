"""What must be true after a run: each check has a name and a finding, empty if it passed.

The load generator's verification and the check of the audit log are separate programs; neither knows the other.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pymongo import MongoClient

from chalicelib.audit.archives import Archives
from chalicelib.audit.folder import Folder
from chalicelib.store.documents import state_of
from infra.faults.archiving import KEYLESS, Archiving
from infra.faults.journals import differences
from infra.host import guard
from infra.local.stack import PROJECT

PRICE_CENTS = 1_000
_SHOWN_LINES = 12
_DUMP_SECONDS = 300.0
_CHECK_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class JudgedSystem:
    """The system to judge, accessed directly, without the proxies."""

    url: str
    token: str
    mongo_uri: str
    mongo_database: str
    dump_place: Path


@dataclass(frozen=True, slots=True)
class Check:
    """A condition, and why it does not hold; empty if it does."""

    name: str
    wrong: str = ""


def judge(
    target: JudgedSystem,
    workload: Path,
    answers: Path,
    report: Mapping[str, Any],
    status: int,
    folder: Path,
    late_cents: Mapping[str, int],
    archiving: Archiving | None = None,
) -> list[Check]:
    """Check a run whose report and answers the load generator has written, with its exit status.

    `late_cents` is the cash that the users of `infra/faults/late_requests.py` must have; `archiving` has moved journals
    to archives meanwhile.
    """
    try:
        log = _dump(target, folder)
    except OSError as error:  # including HTTP statuses
        unsound = not_once = f"the server gives no audit log: {error}"
    else:
        unsound, not_once = _unsound(target, log, folder), "; ".join(_not_once(log, answers))
    archived = [] if archiving is None else [_archived(target, archiving)]
    return [
        _answered(report),
        _verified(report, status),
        Check("worth is what was added", _not_conserved(target, workload, sum(late_cents.values()))),
        Check("accounts are what their journals lead to", _not_led_to(target)),
        Check("late requests were done once", _late_wrong(target, late_cents)),
        Check("the audit log is sound", unsound),
        Check("acknowledged commands are in the log once", not_once),
        *archived,
    ]


def _answered(report: Mapping[str, Any]) -> Check:
    missing = report["run"]["commands"] - report["commands"] + report["errors"]
    said = report.get("stopped") or f"{missing} commands have no final answer"
    return Check("every command is answered", said if missing or report.get("stopped") else "")


def _verified(report: Mapping[str, Any], status: int) -> Check:
    found = report.get("verification")
    wrong = "" if status == 0 and found else f"exit status {status}: {json.dumps(found)[:2_000]}"
    return Check("the load generator's verification", wrong)


def _dump(target: JudgedSystem, folder: Path) -> Path:
    """Request the audit log of all users; return it. Raises OSError if the server does not write one."""
    request = urllib.request.Request(  # noqa: S310  # our own server
        f"{target.url}/dumplog",
        json.dumps({"filename": "faults.xml"}).encode(),
        {"Authorization": f"Bearer {target.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_DUMP_SECONDS) as answer:  # noqa: S310
        location = json.loads(answer.read())["location"]
    log = folder / "audit.xml"
    log.write_bytes(Path(location).read_bytes())
    return log


def _late_wrong(target: JudgedSystem, late_cents: Mapping[str, int]) -> str:
    with MongoClient[dict[str, Any]](target.mongo_uri) as client:
        found = client[target.mongo_database]["accounts"].find({"_id": {"$in": list(late_cents)}})
        has = {account["_id"]: int(state_of(account)["cash"]) for account in found}
    wrong = [user for user, cents in late_cents.items() if has.get(user) != cents]
    return "; ".join(f"{user} has {has.get(user)} cents, and was given {late_cents[user]}" for user in wrong)


def _archived(target: JudgedSystem, archiving: Archiving) -> Check:
    """Check that entries were archived at all; the journals and the log tell whether any is lost."""
    with MongoClient[dict[str, Any]](target.mongo_uri) as client:
        account = client[target.mongo_database]["accounts"].find_one({"_id": KEYLESS})
    name = f"journals were archived ({archiving.entries:,} entries; {archiving.failed} runs failed)"
    return Check(name, archiving.wrong(0 if account is None else int(state_of(account)["cash"])))


def _not_conserved(target: JudgedSystem, workload: Path, besides_cents: int) -> str:
    with MongoClient[dict[str, Any]](target.mongo_uri) as client:
        accounts = list(client[target.mongo_database]["accounts"].find({"_id": {"$ne": KEYLESS}}))
    worth = sum(worth_cents(account) for account in accounts)
    added = added_cents(workload) + besides_cents
    return "" if worth == added else f"the accounts are worth {worth} cents, {added} were added"


def _not_led_to(target: JudgedSystem) -> str:
    with MongoClient[dict[str, Any]](target.mongo_uri) as client:
        database = client[target.mongo_database]
        archives = Archives(database, Folder(target.dump_place))
        return "; ".join(islice(differences(database, archives, PRICE_CENTS), _SHOWN_LINES))


def worth_cents(account: Mapping[str, Any]) -> int:
    """Return cash, reserved cash and shares at the only price there is, of a document of `accounts`."""
    state = state_of(account)
    reserved = sum(order["value"] for order in state["pending_buys"])
    reserved += sum(trigger["amount"] for trigger in state["buy_triggers"].values())
    shares = sum(state["holdings"].values()) + sum(order["n"] for order in state["pending_sells"])
    shares += sum(trigger["n"] for trigger in state["sell_triggers"].values())
    return int(state["cash"] + reserved + shares * PRICE_CENTS)


def added_cents(workload: Path) -> int:
    """Return what the ADDs of a generated workload add; all of them are executed."""
    adds = [line.split(",") for line in workload.read_text().splitlines() if "] ADD," in line]
    return sum(int(fields[2].strip().replace(".", "")) for fields in adds)


def _unsound(target: JudgedSystem, log: Path, folder: Path) -> str:
    command = guard.guarded(sys.executable, "-m", "infra.audit", "check", str(log), "--url", target.url)
    ended = subprocess.run(
        command,
        cwd=PROJECT,
        env=os.environ | {"AUDIT_TOKEN": target.token},
        capture_output=True,
        text=True,
        check=False,
        timeout=_CHECK_SECONDS,
    )
    (folder / "audit-check.txt").write_text(ended.stdout + ended.stderr)
    if ended.returncode == 0:
        return ""
    return " | ".join((ended.stdout + ended.stderr).strip().splitlines()[-_SHOWN_LINES:])


def _not_once(log: Path, answers: Path) -> Iterator[str]:
    """Compare what was acknowledged with the commands in the log, by number."""
    logged = Counter(_numbers(log))
    for answer in recorded(answers):
        count = logged[answer["n"]]
        if answer["status"] in {200, 409} and count != 1:
            yield f"[{answer['n']}] was acknowledged and is in the log {count} times"
        elif count > 1:
            yield f"[{answer['n']}] is in the log {count} times"


def _numbers(log: Path) -> Iterator[int]:
    for _, element in ET.iterparse(log):  # noqa: S314  # written by our own server
        if element.tag == "userCommand":
            yield int(element.findtext("transactionNum", "0"))
        if element.tag in {
            "userCommand",
            "accountTransaction",
            "quoteServer",
            "systemEvent",
            "errorEvent",
            "debugEvent",
        }:
            element.clear()


def recorded(answers: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers that the load generator recorded, one per command."""
    with answers.open() as lines:
        for line in lines:
            answer = json.loads(line)
            if "n" in answer:
                yield answer


def all_well(checks: Sequence[Check]) -> bool:
    """Return whether every check passed."""
    return not any(check.wrong for check in checks)
