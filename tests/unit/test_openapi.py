"""The OpenAPI document says what is served, what is checked and what is answered."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from app import app
from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import FIELD_CODES, RejectedError, RequestError
from chalicelib.domain.money import parse_cents
from chalicelib.domain.names import parse_symbol, parse_user
from chalicelib.http import schemas
from chalicelib.http.openapi import codes_of, document
from chalicelib.http.operations import DISPLAY_SUMMARY, OPERATIONS, Operation
from chalicelib.http.problems import STATUSES
from chalicelib.http.requests import parse_object, read_key

ROOT = Path(__file__).parents[2]
DOCUMENT = document()


def test_the_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_committed_document_is_the_one_that_is_served() -> None:
    """To make it so: .venv/bin/python -m chalicelib.http.openapi > docs/openapi.json ."""
    run = [sys.executable, "-m", "chalicelib.http.openapi"]
    written = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs/openapi.json").read_text() == written
    assert json.loads(written) == json.loads(json.dumps(DOCUMENT))


def test_the_document_and_the_routes_agree() -> None:
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == {(method, path) for path, methods in app.routes.items() for method in methods}


def test_every_command_has_an_operation_and_only_dumplog_has_two() -> None:
    commands = [operation.command for operation in OPERATIONS if operation.command is not None]
    assert sorted(commands) == sorted([*CommandName, CommandName.DUMPLOG])


def test_every_code_a_client_can_get_stands_in_the_document_under_its_status() -> None:
    described = {code: status for item in OPERATIONS for status, codes in codes_of(item).items() for code in codes}
    assert described == {code: status for code, status in STATUSES.items() if status not in {500, 502}}


def test_every_rejection_and_refusal_may_stand_in_the_history() -> None:
    outcomes = DISPLAY_SUMMARY.answer["history"]["items"]["properties"]["outcome"]["enum"]
    assert set(outcomes) == {"ok", *RejectedError.CODES, *FIELD_CODES}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_only_what_is_public_needs_no_token(operation: Operation) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    assert ("security" in described) == (operation.name in {"health", "openapi", "page", "asset"})
    assert ("401" in described["responses"]) == ("security" not in described)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_examples_have_the_form_that_is_described(operation: Operation) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    contents = [described["requestBody"]] if "requestBody" in described else []
    contents += [response for response in described["responses"].values() if "content" in response]
    shown = [content for holder in contents for content in holder["content"].values() if "example" in content]
    assert shown or operation.public
    for content in shown:
        jsonschema_rs.validator_for(content["schema"]).validate(content["example"])


def test_every_shared_answer_is_used_and_has_its_headers() -> None:
    text = json.dumps(DOCUMENT["paths"])
    for code, answer in DOCUMENT["components"]["responses"].items():
        assert f"#/components/responses/{code}" in text
        assert ("Retry-After" in answer.get("headers", {})) == (STATUSES[code] in {429, 503})
        assert ("WWW-Authenticate" in answer.get("headers", {})) == (STATUSES[code] == 401)
        assert ("Allow" in answer.get("headers", {})) == (STATUSES[code] == 405)


def accepts(parse: object, value: object) -> bool:
    assert callable(parse)
    try:
        parse(value)
    except RequestError:
        return False
    return True


def matches(schema: schemas.Schema, value: object) -> bool:
    return jsonschema_rs.validator_for(dict(schema)).is_valid(value)


def test_the_quote_servers_time_may_be_any_number() -> None:
    assert all(matches(answer["timestamp"], -5) for answer in (schemas.QUOTED, schemas.PRICED))


AMOUNTS = st.from_regex(re.compile(r"-?[0-9]{0,11}(\.[0-9]{0,3})?", re.ASCII), fullmatch=True) | st.text(max_size=12)


@given(AMOUNTS)
@example("1000000000.00")
@example("1000000000.01")
@example("0999999999.99")
@example("00000000000")
@example("0.00")
@example("0.01")
@example("1.")
@example("1.00\n")
@example("١.٠٠")
def test_the_schema_of_amounts_takes_the_strings_that_are_taken(amount: str) -> None:
    assert matches(schemas.AMOUNT, amount) == accepts(parse_cents, amount)


@given(st.integers(-10, 2 * 10**9) | st.integers(0, 10**13).map(lambda cents: cents / 100))
@example(1_000_000_000)
@example(1_000_000_000.01)
@example(0.29)
@example(0.001)
def test_the_schema_of_amounts_takes_the_numbers_that_are_taken(amount: float) -> None:
    written = parse_object(json.dumps({"amount": amount}).encode())["amount"]
    assert matches(schemas.AMOUNT, amount) == accepts(parse_cents, written)


@given(st.text(max_size=70) | st.from_regex(r"\A[A-Za-z0-9_-]{0,66}\Z"))
@example("jane\n")
@example("")
def test_the_schemas_of_users_symbols_and_keys_take_what_is_taken(text: str) -> None:
    assert matches(schemas.USER, text) == accepts(parse_user, text)
    assert matches(schemas.SYMBOL, text) == accepts(parse_symbol, text)
    if text == text.strip():  # what stands around a header's value is not part of it
        assert matches(schemas.KEY, text) == accepts(read_key, text)
