"""Logs that are never written: there is no room for them, or the database cannot; who asks is told at once."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from chalicelib.audit import dumps as dumps_module
from chalicelib.audit.dumps import Dumps, HandOver
from chalicelib.audit.folder import Folder
from chalicelib.audit.journal import Journals
from chalicelib.audit.places import BLOCK_BYTES
from chalicelib.audit.refusals import refusal_of
from chalicelib.domain.errors import DumpQuotaError, IndexConflictError, NotSupportedError, StoreUnavailableError
from infra.audit.journals import make_journals
from tests.integration.api import Api, running_api, token
from tests.integration.audit_parts import dumplog, read_log
from tests.integration.shop import Shop

MB = 1_000_000


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, DUMP_QUOTA_MB="1") as api:
        yield api


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def dumps_of(shop: Shop, folder: Path, **more: Any) -> Dumps:
    return Dumps(shop.database, Folder(folder), lambda: shop.now_ms, **more)


def test_a_trader_whose_logs_take_all_the_room_writes_over_one_of_them(api: Api, tmp_path: Path) -> None:
    trader = f"Bearer {token('jane', 'trader')}"
    old = tmp_path / "users" / "jane" / "old.xml"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x" * (MB - 100))
    path = "/users/jane/dumplog"
    refused = api.ask("POST", path, {"filename": "new.xml"}, authorization=trader, headers={"Idempotency-Key": "once"})
    assert (refused.status, refused.code) == (409, "dump_quota")
    assert refused.body["detail"].startswith(
        "the logs of one user may take 1 MB, and the others of this one take 1.0: "
    )
    assert list(files(tmp_path)) == ["users/jane/old.xml"]
    assert api.ask("POST", path, {"filename": "old.xml"}, authorization=trader).status == 200
    again = api.ask("POST", path, {"filename": "new.xml"}, authorization=trader, headers={"Idempotency-Key": "once"})
    assert again.code == "dump_quota", "it was refused for good"
    assert api.ask("POST", path, {"filename": "new.xml"}, authorization=trader).status == 200


def test_operators_have_no_quota(api: Api, tmp_path: Path) -> None:
    for user in ("jane", "operator"):
        there = tmp_path / "users" / user / "old.xml"
        there.parent.mkdir(parents=True)
        there.write_bytes(b"x" * 2 * MB)
        assert api.post(f"/users/{user}/dumplog", {"filename": "new.xml"}).status == 200
    assert api.post("/dumplog", {"filename": "all.xml"}).status == 200


def test_many_small_logs_take_a_block_each(shop: Shop, tmp_path: Path) -> None:
    dumps = dumps_of(shop, tmp_path)
    written = 0
    with suppress(DumpQuotaError):
        for number in range(100):
            entry = dumplog(shop.now_ms, "jane", f"{number}.xml", of_all=False)
            dumps.write(entry, "jane", number + 1, 10 * BLOCK_BYTES)
            written += 1
    assert written == len(files(tmp_path)) == 10


def test_the_logs_of_others_and_one_of_the_same_name_take_no_room(shop: Shop, tmp_path: Path) -> None:
    dumps = dumps_of(shop, tmp_path)
    for number, (user, name) in enumerate([("janet", "a"), ("jane", "a"), ("jane", "a"), ("jan", "a")], 1):
        dumps.write(dumplog(shop.now_ms, user, name, of_all=False), user, number, BLOCK_BYTES)
    with pytest.raises(DumpQuotaError):
        dumps.write(dumplog(shop.now_ms, "jane", "b", of_all=False), "jane", 9, BLOCK_BYTES)


@pytest.mark.parametrize("room", [2 * MB, 9 * MB])
def test_a_log_that_grows_past_the_room_there_is_leaves_nothing(shop: Shop, tmp_path: Path, room: int) -> None:
    """Whether that shows at its first piece or at a later one."""
    make_journals(shop.database, users=1, commands=17_000)
    (user,) = [account["_id"] for account in shop.database["accounts"].find({}, {"_id": 1})]
    dumps = dumps_of(shop, tmp_path)
    with pytest.raises(DumpQuotaError):
        dumps.write(dumplog(shop.now_ms, user, of_all=False), user, 1, room)
    assert files(tmp_path) == {}
    whole = dumps.write(dumplog(shop.now_ms, user, of_all=False), user, 2, 20 * MB)
    assert room < Path(whole["location"]).stat().st_size < 20 * MB


def test_whoever_goes_on_with_a_log_keeps_to_its_quota_and_tells_who_asked(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_journals(shop.database, users=1, commands=17_000)
    (user,) = [account["_id"] for account in shop.database["accounts"].find({}, {"_id": 1})]
    monkeypatch.setattr(dumps_module, "LONG_ENTRIES", 1_000)
    went_on: list[bool] = []
    other = dumps_of(shop, tmp_path)
    handing = dumps_of(shop, tmp_path, hand_over=HandOver(lambda dump: went_on.append(other.go_on(dump, 0)), None))
    with pytest.raises(DumpQuotaError):
        handing.write(dumplog(shop.now_ms, user, of_all=False), user, 1, 9 * MB)
    assert went_on == [True], "there is no more to do"
    assert files(tmp_path) == {}


class Unable(Journals):
    """Journals in a database that cannot sort them."""

    code = 304

    def _open(self, *_bounds: object) -> Any:
        raise OperationFailure("Aggregation stage not supported: '$unionWith'", self.code)


def test_a_log_of_all_that_the_database_cannot_sort_is_refused_at_once(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs of single users need no sort."""
    monkeypatch.setattr(dumps_module, "Journals", Unable)
    refused = api.post("/dumplog", {"filename": "all.xml"})
    assert (refused.status, refused.code) == (501, "not_supported")
    assert "send it again" not in refused.body["detail"]
    assert files(tmp_path) == {}
    assert api.post("/users/jane/dumplog", {"filename": "mine.xml"}).status == 200


def test_what_may_pass_is_not_taken_for_that(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps_module, "Journals", Unable)
    dumps = dumps_of(shop, tmp_path)
    monkeypatch.setattr(Unable, "code", 189)  # the primary stepped down
    entry = dumplog(shop.now_ms)
    with pytest.raises(StoreUnavailableError):
        dumps.write(entry, "auditor", 1)
    monkeypatch.setattr(dumps_module, "Journals", Journals)
    written = dumps_of(shop, tmp_path).write(entry, "auditor", 1)
    assert read_log(Path(written["location"]).read_bytes()) == []


def test_an_index_in_the_way_of_those_of_journals_is_told(api: Api, shop: Shop) -> None:
    shop.database["journal"].create_index("something", name="times")
    refused = api.post("/users/jane/dumplog", {"filename": "log.xml"})
    assert (refused.status, refused.code) == (501, "index_conflict")
    with pytest.raises(IndexConflictError):
        dumps_of(shop, api.folder).write(dumplog(shop.now_ms), "auditor", 1)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (292, "", NotSupportedError),
        (303, "", NotSupportedError),
        (40324, "Unrecognized pipeline stage name: '$unionWith'", NotSupportedError),
        (8000, "allowDiskUse is not allowed in this atlas tier", NotSupportedError),
        (8000, "bad auth", None),
        (85, "", IndexConflictError),
        (50, "", None),
    ],
)
def test_refusals_are_told_from_what_may_pass(code: int, message: str, kind: type[Exception] | None) -> None:
    refusal = refusal_of(OperationFailure(message, code))
    assert (None if refusal is None else type(refusal)) is kind
