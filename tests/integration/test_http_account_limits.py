"""The limits of an account over HTTP: settings that are rejections, which stand in the audit log like others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.api import Api, running_api


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    few = {"MAX_ORDERS": "2", "MAX_TRIGGERS": "1", "MAX_HOLDINGS": "2"}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **few) as api:
        yield api


def buys(api: Api, symbol: str, **headers: str) -> str:
    """Buy a share; return the code of the answer."""
    reply = api.post("/users/jane/buy", {"symbol": symbol, "amount": "10.00"}, **headers)
    return "ok" if reply.status == 200 else f"{reply.status} {reply.code}"


def test_an_account_at_a_limit_is_told_so_and_it_stands_in_its_history_and_log(api: Api, tmp_path: Path) -> None:
    api.post("/users/jane/add", {"amount": "100.00"})
    assert [buys(api, "A"), buys(api, "B"), buys(api, "B")] == ["ok", "ok", "409 too_many_orders"]
    assert api.post("/users/jane/cancel-buy").status == 200
    assert [buys(api, "B"), api.post("/users/jane/commit-buy").status] == ["ok", 200]
    assert buys(api, "C") == "409 too_many_holdings"
    triggers = [api.post("/users/jane/set-buy-amount", {"symbol": s, "amount": "5.00"}) for s in ("A", "B")]
    assert [triggers[0].status, triggers[1].code] == [200, "too_many_triggers"]
    assert triggers[1].body["detail"] == "has 1 triggers, may have 1"
    outcomes = [past["outcome"] for past in api.get("/users/jane/summary").body["history"]]
    assert outcomes[:3] == ["too_many_triggers", "ok", "too_many_holdings"]
    entry = api.get("/users/jane/history?limit=2").body["entries"][1]
    assert (entry["outcome"], entry["detail"]) == ("too_many_triggers", "has 1 triggers, may have 1")
    api.post("/users/jane/dumplog", {"filename": "log.xml"})
    log = (tmp_path / "users/jane/log.xml").read_text()
    assert log.count("<errorMessage>") == 3
    assert "may have 2" in log


def test_a_rejection_by_a_limit_is_the_first_outcome_of_its_key(api: Api) -> None:
    api.post("/users/jane/add", {"amount": "100.00"})
    assert [buys(api, "A"), buys(api, "A")] == ["ok", "ok"]
    assert buys(api, "A", idempotency_key="once") == "409 too_many_orders"
    api.post("/users/jane/cancel-buy")
    assert buys(api, "A", idempotency_key="once") == "409 too_many_orders"
    assert buys(api, "A", idempotency_key="another") == "ok"
