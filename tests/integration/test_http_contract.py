"""Answers of the running app have the form that the document gives them, each exactly."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from chalicelib.http.headers import SECURITY_HEADERS
from chalicelib.http.openapi import document
from chalicelib.http.operations import OPERATIONS, Operation
from chalicelib.http.page import page
from tests.integration.api import Api, Reply, running_api, token

DOCUMENT: Mapping[str, Any] = json.loads(json.dumps(document()))


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


OF_ALL = {"content-type", "content-disposition", *map(str.lower, SECURITY_HEADERS)}


def described(operation: Operation, reply: Reply) -> Mapping[str, Any]:
    """Return what the document says of an answer, its headers compared."""
    answers = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
    answer: Mapping[str, Any] = answers[str(reply.status)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    headers = {name.lower(): header for name, header in answer.get("headers", {}).items()}
    assert reply.headers.keys() - OF_ALL <= headers.keys()
    for name, header in headers.items():
        assert name in reply.headers or not header.get("required")
    return answer


def conforms(operation: Operation, reply: Reply) -> Reply:
    """Check an answer against the document and return it."""
    content = described(operation, reply)["content"]
    kind = reply.headers["content-type"]
    assert kind in content
    assert len(content) == 1 or operation.name in {"asset", "history"}
    jsonschema_rs.validator_for(content[kind]["schema"]).validate(reply.body if "json" in kind else reply.text)
    return reply


def path_of(operation: Operation, user: str = "jane") -> str:
    path = operation.path.format(user=user, symbol="abc", version=page().version, name="app.js")
    return path + "".join(f"?{given.name}={given.schema['examples'][0]}" for given in operation.query if given.required)


def named(name: str) -> Operation:
    return next(operation for operation in OPERATIONS if operation.name == name)


def ask(api: Api, name: str, body: object = None, key: str | None = None, **more: Any) -> Reply:
    operation = named(name)
    path = path_of(operation)
    headers = {} if key is None else {"Idempotency-Key": key}
    return conforms(operation, api.ask(operation.method, path, body, headers=headers, **more))


ABC = {"symbol": "ABC", "amount": "100.00"}
AT = {"symbol": "ABC", "price": "9.50"}
ONE = {"symbol": "ABC"}
A_DAY: list[tuple[str, object]] = [
    ("add", {"amount": 5000}),
    ("quote", None),
    *[("buy", ABC), ("cancel_buy", None), ("buy", ABC), ("buy", ABC), ("commit_buy", {})],
    *[("sell", {**ABC, "amount": 20.5}), ("cancel_sell", None), ("sell", ABC), ("commit_sell", None)],
    *[("buy", {**ABC, "amount": "500.00"}), ("commit_buy", None)],
    *[("set_buy_amount", ABC), ("set_buy_trigger", AT), ("set_sell_amount", ABC), ("set_sell_trigger", AT)],
    *[("buy", ABC), ("sell", ABC), ("summary", None), ("cancel_set_buy", ONE), ("cancel_set_sell", ONE)],
    *[("dumplog", {"filename": "log.xml"}), ("dumplog_of_all", {"filename": "log.xml"}), ("summary", None)],
    *[("dumped_log", None), ("dumped_log_of_all", None), ("account", None), ("history", None)],
    *[("prices", None), ("price_history", None)],
    *[("health", None), ("openapi", None), ("page", None), ("asset", None)],
]


def test_every_success_has_exactly_the_form_that_is_described(api: Api) -> None:
    assert {name for name, _ in A_DAY} == {operation.name for operation in OPERATIONS}
    for name, body in A_DAY:
        assert ask(api, name, body).status == 200, name


def test_every_rejection_has_exactly_the_form_that_is_described(api: Api) -> None:
    seen = set()
    for name, body in [
        *[("buy", ABC), ("buy", {**ABC, "amount": "1.00"}), ("commit_buy", None), ("cancel_buy", None), ("sell", ABC)],
        *[("sell", {**ABC, "amount": "1.00"}), ("commit_sell", None), ("cancel_sell", None), ("set_buy_amount", ABC)],
        *[("set_buy_trigger", AT), ("cancel_set_buy", ONE), ("set_sell_amount", ABC), ("set_sell_trigger", AT)],
        *[("cancel_set_sell", ONE)],
    ]:
        reply = ask(api, name, body)
        assert reply.status == 409, name
        seen.add((name, reply.code))
    # An account with so much cash, or so many logs, has no place here (tests/e2e/test_account_limits.py).
    rejected = {operation.name for operation in OPERATIONS if set(operation.rejections) - {"cash_limit", "dump_quota"}}
    assert {name for name, _ in seen} == rejected
    history = ask(api, "summary").body["history"]
    assert {code for _, code in seen} == {past["outcome"] for past in history}


@pytest.mark.parametrize("operation", [item for item in OPERATIONS if not item.public], ids=lambda item: item.name)
def test_every_refusal_has_exactly_the_form_that_is_described(api: Api, operation: Operation) -> None:
    name = operation.name
    codes = {
        ask(api, name, authorization=None).code,
        conforms(operation, api.ask("PATCH", path_of(operation))).code,
    }
    expected = {"unauthorized", "method_not_allowed"}
    if operation.of_all or "{user}" in operation.path:
        codes.add(ask(api, name, authorization=f"Bearer {token('john', 'trader')}").code)
        expected.add("forbidden")
    if operation.command is not None:
        codes.add(ask(api, name, key="x" * 129).code)
        expected.add("invalid_header")
    bare = path_of(operation).partition("?")[0]
    for given in operation.query:
        if given.required:
            codes.add(conforms(operation, api.ask("GET", bare)).code)
            expected.add("missing_field")
        codes.add(conforms(operation, api.ask("GET", f"{bare}?{given.name}=..%2Fx")).code)
        expected.add(given.code)
    if operation.query and operation.query[0].name == "filename":
        codes.add(conforms(operation, api.ask("GET", f"{bare}?filename=none.xml")).code)
        expected.add("not_found")
    if operation.method == "POST":
        codes |= {ask(api, name, raw=b"[").code, ask(api, name, {"x": 1}).code, ask(api, name, raw=b" " * 70_000).code}
        path = operation.path.format(user="jane")
        codes.add(conforms(operation, api.ask("POST", path, {}, headers={"Content-Type": "text/plain"})).code)
        expected |= {"invalid_json", "unknown_field", "too_large", "unsupported_media_type"}
    for field in operation.fields:
        good = {given.name: given.schema["examples"][0] for given in operation.fields}
        codes |= {ask(api, name, good | {field.name: None}).code}
        expected.add(field.code)
        if field.required:
            codes |= {ask(api, name, {key: value for key, value in good.items() if key != field.name}).code}
            expected.add("missing_field")
    if "{user}" in operation.path:
        codes.add(conforms(operation, api.ask(operation.method, path_of(operation, "a.b"))).code)
        expected.add("invalid_user")
    assert codes == expected


def test_what_is_unchanged_and_a_page_of_csv_have_the_headers_that_are_described(api: Api) -> None:
    for operation in (named("page"), named("account")):
        etag = api.ask("GET", path_of(operation)).headers["etag"]
        same = api.ask("GET", path_of(operation), headers={"If-None-Match": etag})
        assert (same.status, {*described(operation, same)["headers"]}) == (304, {"ETag"})
        assert {"$ref": "#/components/parameters/match"} in DOCUMENT["paths"][operation.path]["get"]["parameters"]
    for _ in range(2):
        ask(api, "quote")
    page_of_csv = api.get("/users/jane/history?format=csv&limit=1")
    assert conforms(named("history"), page_of_csv).headers["x-next-before"] == "2"


def test_a_repeated_and_a_reused_key_have_exactly_the_form_that_is_described(api: Api) -> None:
    ask(api, "add", {"amount": "1.00"}, key="k")
    assert ask(api, "add", {"amount": "1.00"}, key="k").headers["idempotent-replayed"] == "true"
    assert ask(api, "add", {"amount": "2.00"}, key="k").code == "idempotency_key_reused"
    assert ask(api, "summary", key="k").code == "idempotency_key_reused"


def test_what_is_unavailable_has_exactly_the_form_that_is_described(
    mongo_uri: str, mongo_database: str, tmp_path: Path
) -> None:
    away, no_redis = "mongodb://127.0.0.1:1/?directConnection=true", "redis://127.0.0.1:1/0"
    short = {"MONGO_TIMEOUT_MS": "100", "COMMAND_TIMEOUT_MS": "200"}
    with running_api(away, "none", no_redis, tmp_path, **short) as api:
        for name, body in (("add", {"amount": "1.00"}), ("account", None), ("history", None), ("health", None)):
            assert ask(api, name, body).code == "store_unavailable"
    no_quotes = {"QUOTE_SOURCE": "tcp://127.0.0.1:1", "QUOTE_LIMIT_MS": "100"}
    with running_api(mongo_uri, mongo_database, no_redis, tmp_path, **no_quotes) as api:
        assert ask(api, "quote").code == "quote_unavailable"
