"""Every error of the system has one status and one code."""

import json

from chalicelib.domain import errors
from chalicelib.domain.errors import MethodNotAllowedError, QuoteUnavailableError, RejectedError, TradingError
from chalicelib.http.problems import STATUSES, error_response


def all_errors(base: type[TradingError]) -> set[type[TradingError]]:
    return {base}.union(*(all_errors(error) for error in base.__subclasses__()))


def test_every_error_has_a_code_with_a_status() -> None:
    codes = {error.code for error in all_errors(TradingError) if hasattr(error, "code")} | RejectedError.CODES
    assert codes <= set(STATUSES)
    leaves = [error for error in all_errors(TradingError) if not error.__subclasses__() and error is not RejectedError]
    assert all(hasattr(error, "code") for error in leaves)


def test_every_error_stands_in_the_tree_that_the_module_draws() -> None:
    for error in all_errors(TradingError):
        assert error.__name__ in (errors.__doc__ or "") or error.__name__ == "FieldError"


def test_a_problem_has_the_members_of_the_interface() -> None:
    response = error_response(QuoteUnavailableError("no quote for ABC", retry_after_seconds=2))
    assert response.status_code == 503
    assert response.headers == {"Content-Type": "application/problem+json", "Retry-After": "2"}
    assert json.loads(response.body) == {
        "type": "urn:day-trading:problem:quote_unavailable",
        "title": "Quote unavailable",
        "status": 503,
        "detail": "no quote for ABC",
        "code": "quote_unavailable",
    }


def test_a_wrong_method_lists_the_right_ones() -> None:
    assert error_response(MethodNotAllowedError("GET", ("POST",))).headers["Allow"] == "POST"
