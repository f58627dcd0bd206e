"""Every error of the system has one status and one code."""

import json
import re
import sys

import pytest

import app
import chalicelib.access.errors
import chalicelib.audit.errors
import chalicelib.domain.errors
import chalicelib.http.errors
from chalicelib.access.errors import AuthUnavailableError
from chalicelib.domain.errors import (
    ClockSkewError,
    QuoteUnavailableError,
    RejectedError,
    StoreUnavailableError,
    TooLateError,
    TradingError,
    UnavailableError,
    UnknownDataVersionError,
)
from chalicelib.http.errors import MethodNotAllowedError
from chalicelib.http.openapi import document
from chalicelib.http.operations import OPERATIONS
from chalicelib.http.problems import STATUSES, UNCHANGED, UNKNOWN, error_response

assert app  # every module is loaded that defines an error


def all_errors(base: type[TradingError]) -> set[type[TradingError]]:
    return {base}.union(*(all_errors(error) for error in base.__subclasses__()))


def test_every_error_has_a_code_with_a_status() -> None:
    codes = {error.code for error in all_errors(TradingError) if hasattr(error, "code")} | RejectedError.CODES
    assert codes <= set(STATUSES)
    leaves = [error for error in all_errors(TradingError) if not error.__subclasses__() and error is not RejectedError]
    assert all(hasattr(error, "code") for error in leaves)


def test_every_error_stands_in_the_tree_that_its_module_draws() -> None:
    for error in all_errors(TradingError) - {chalicelib.domain.errors.FieldError}:
        assert error.__name__ in (sys.modules[error.__module__].__doc__ or "")


def test_what_is_wrong_with_http_is_no_error_of_the_domain() -> None:
    """Nor is who may ask, nor a file of the audit log: the domain would not know them without a server."""
    domain = {error.__name__ for error in all_errors(TradingError) if error.__module__ == "chalicelib.domain.errors"}
    named = "Header|Query|Json|Missing|UnknownField|Method|MediaType|TooLarge|NotFound|Auth|Forbidden|Rate"
    assert not [name for name in domain if re.search(named, name)]


UNAVAILABLE: dict[str, tuple[UnavailableError, str]] = {
    "quote_unavailable": (QuoteUnavailableError("x"), UNCHANGED),
    "store_unavailable": (StoreUnavailableError("x"), UNKNOWN),
    "auth_unavailable": (AuthUnavailableError("x"), UNCHANGED),
    "unknown_data_version": (UnknownDataVersionError(None, 2), UNCHANGED),
    "clock_skew": (ClockSkewError(5_000, 2_000), UNCHANGED),
    "too_late": (TooLateError("x"), UNCHANGED),
}


@pytest.mark.parametrize(
    "code",
    sorted({code for code, status in STATUSES.items() if status == 503} - {"server_busy"}),  # the gateway's own
)
def test_a_503_says_whether_the_command_may_have_been_done(code: str) -> None:
    """Each by its kind: a new code comes with its own line here."""
    error, meaning = UNAVAILABLE[code]
    detail = json.loads(error_response(error).body)["detail"]
    assert detail.endswith(f"; {meaning}")
    assert ("may have been done" in detail, "nothing was changed" in detail) == (meaning == UNKNOWN, meaning != UNKNOWN)
    assert "same Idempotency-Key" in detail or meaning == UNCHANGED


def test_a_read_that_gets_a_503_changed_nothing_whatever_the_code() -> None:
    for error, _ in UNAVAILABLE.values():
        detail = json.loads(error_response(error, is_command=False).body)["detail"]
        assert detail.endswith("; nothing is changed by reading, send it again")


def test_the_document_says_of_a_503_what_it_means_for_a_command_and_for_a_read() -> None:
    paths = document()["paths"]
    for operation in OPERATIONS:
        answers = paths[operation.path][operation.method.lower()]["responses"]
        if operation.public:
            continue
        said = answers["503"]["description"]
        if operation.command is None:
            assert "Nothing is changed by reading" in said
        else:
            assert "`store_unavailable` the command may have been done" in said
            assert "any other code nothing was changed" in said


def test_a_problem_has_the_members_of_the_interface() -> None:
    response = error_response(QuoteUnavailableError("no quote for ABC", retry_after_seconds=2))
    assert response.status_code == 503
    assert response.headers == {"Content-Type": "application/problem+json", "Retry-After": "2"}
    assert json.loads(response.body) == {
        "type": "urn:day-trading:problem:quote_unavailable",
        "title": "Quote unavailable",
        "status": 503,
        "detail": "no quote for ABC; nothing was changed, send it again",
        "code": "quote_unavailable",
    }


def test_a_wrong_method_lists_the_right_ones() -> None:
    assert error_response(MethodNotAllowedError("GET", ("POST",))).headers["Allow"] == "POST"
