"""Logs that DUMPLOG has written, fetched by whom they are about and by nobody else."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from chalicelib.http.execution import MAX_LOG_BYTES
from tests.integration.api import Api, running_api, token
from tests.integration.audit_parts import read_log


def of_trader(user: str) -> str:
    """Return the Authorization of a trader, made when it is needed: tokens run out."""
    return f"Bearer {token(user, 'trader')}"


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


def test_a_trader_fetches_the_log_that_it_had_written(api: Api) -> None:
    api.post("/users/jane/add", {"amount": "12.34"})
    written = api.post("/users/jane/dumplog", {"filename": "a day, 50%.xml"}).body
    reply = api.ask("GET", "/users/jane/dumplog?filename=a+day%2C%2050%25.xml", authorization=of_trader("jane"))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/xml")
    assert reply.headers["content-disposition"] == "attachment"
    assert reply.text == Path(written["location"]).read_text()
    assert len(read_log(reply.text.encode())) == written["events"]


def test_a_trader_is_not_shown_where_on_its_disk_the_server_keeps_logs(api: Api) -> None:
    """Also not when its command, or an operator's for it, is repeated; an operator is."""
    path, body = "/users/jane/dumplog", {"filename": "log.xml"}
    mine = [
        api.ask("POST", path, body, authorization=of_trader("jane"), headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    operators = api.ask("POST", path, body, headers={"Idempotency-Key": "k"})
    assert [reply.body["location"] for reply in mine] == ["users/jane/log.xml"] * 2
    assert Path(operators.body["location"]).is_absolute()
    assert str(api.folder) not in mine[0].text


def test_nobody_else_does_but_an_operator(api: Api) -> None:
    api.post("/users/jane/dumplog", {"filename": "log.xml"})
    path = "/users/jane/dumplog?filename=log.xml"
    assert api.ask("GET", path, authorization=of_trader("john")).code == "forbidden"
    assert api.ask("GET", path, authorization=None).code == "unauthorized"
    assert api.get(path).status == 200


def test_the_log_of_all_is_for_operators(api: Api) -> None:
    api.post("/dumplog", {"filename": "all.xml"})
    assert api.ask("GET", "/dumplog?filename=all.xml", authorization=of_trader("jane")).code == "forbidden"
    assert api.get("/dumplog?filename=all.xml").status == 200
    assert api.get("/users/operator/dumplog?filename=all.xml").code == "not_found"


@pytest.mark.parametrize("name", ["../jane/log.xml", "..", "/etc/passwd", "a\\b", "\x00"])
def test_a_name_that_would_leave_the_place_is_refused(api: Api, name: str) -> None:
    api.post("/users/jane/dumplog", {"filename": "log.xml"})
    reply = api.ask("GET", f"/users/john/dumplog?filename={quote(name, safe='')}", authorization=of_trader("john"))
    assert reply.code == "invalid_filename"


def test_a_log_that_nobody_wrote_and_a_name_that_is_missing_are_said(api: Api) -> None:
    assert api.get("/users/jane/dumplog?filename=none.xml").code == "not_found"
    assert api.get("/users/jane/dumplog").code == "missing_field"


def test_fetching_a_log_leaves_no_trace_in_the_account(api: Api) -> None:
    api.post("/users/jane/dumplog", {"filename": "log.xml"})
    api.get("/users/jane/dumplog?filename=log.xml")
    history = api.get("/users/jane/summary").body["history"]
    assert [past["command"] for past in history] == ["DUMPLOG"]


def test_a_log_that_is_too_large_for_one_answer_is_not_held_in_memory_but_named(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "users" / "jane"
    folder.mkdir(parents=True)
    (folder / "fits.xml").write_text("x" * MAX_LOG_BYTES)
    (folder / "large.xml").write_text("x" * (MAX_LOG_BYTES + 1))
    assert len(api.get("/users/jane/dumplog?filename=fits.xml").text) == MAX_LOG_BYTES
    refused = api.get("/users/jane/dumplog?filename=large.xml")
    assert (refused.status, refused.code) == (413, "too_large")
    assert "fetch it from where DUMPLOG wrote it" in refused.body["detail"]


def test_a_folder_that_cannot_be_read_is_unavailable(api: Api, tmp_path: Path) -> None:
    (tmp_path / "users" / "jane" / "log.xml").mkdir(parents=True)  # a folder where the file should be
    reply = api.get("/users/jane/dumplog?filename=log.xml")
    assert (reply.code, reply.headers["retry-after"]) == ("store_unavailable", "1")


def test_where_logs_are_in_a_bucket_its_links_are_the_way(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, DUMP_PLACE="s3://bucket/logs") as api:
        reply = api.get("/users/jane/dumplog?filename=log.xml")
    assert reply.code == "not_found"
    assert "use the link in the answer to DUMPLOG" in reply.body["detail"]


def test_fetching_counts_towards_the_limit_of_commands(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    limit = {"RATE_LIMIT": "2", "RATE_LIMIT_SECONDS": "3600"}
    user = uuid.uuid4().hex
    someone = f"Bearer {token(user, 'trader')}"
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **limit) as api:
        path = f"/users/{user}/dumplog?filename=none.xml"
        codes = [api.ask("GET", path, authorization=someone).code for _ in range(3)]
    assert codes == ["not_found", "not_found", "rate_limited"]
