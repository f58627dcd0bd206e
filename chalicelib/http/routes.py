"""The routes: one function per operation (docs/api.md). There are no trading rules here."""

import os
from collections.abc import Callable
from typing import Any

from chalice.app import Blueprint, CORSConfig, Request, Response

from chalicelib.config.settings import read_cors_origin
from chalicelib.http import operations
from chalicelib.http.errors import MethodNotAllowedError
from chalicelib.http.execution import (
    answers_problems,
    execute,
    hand_out_log,
    show_account,
    show_history,
    show_price_history,
    show_prices,
)
from chalicelib.http.headers import SECURITY_HEADERS
from chalicelib.http.health import health_response
from chalicelib.http.operations import Operation
from chalicelib.http.page import asset_response, index_response
from chalicelib.http.problems import error_response
from chalicelib.runtime import renew_secrets, runtime

routes = Blueprint(__name__)

ANY_TYPE = ["*/*"]
"""Bodies are checked by `read_body`, which answers with problem+json; Chalice's own check does not."""

View = Callable[..., Response]


def cors_config(origin: str | None) -> CORSConfig | None:
    """Return the CORS configuration for pages of another origin, or None; API Gateway answers preflights by it."""
    if origin is None:
        return None
    return CORSConfig(
        allow_origin=origin,
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Traceparent", "X-Transaction-Num"],
        expose_headers=["Idempotent-Replayed", "Retry-After"],
        max_age=600,
    )


CORS = cors_config(read_cors_origin(os.environ))


def serves(operation: Operation) -> Callable[[View], View]:
    """Register a view for an operation."""

    def register(view: View) -> View:
        registered: View = routes.route(
            operation.path,
            methods=[operation.method],
            name=operation.name,
            content_types=ANY_TYPE,
            cors=CORS,
        )(answers_problems(view))
        return registered

    return register


def _execute(operation: Operation, user: str | None, symbol: str | None = None) -> Response:
    request: Request = routes.current_request
    return execute(runtime(), request, operation, user, symbol)


@serves(operations.ADD)
def add(user: str) -> Response:
    """ADD: deposit cash."""
    return _execute(operations.ADD, user)


@serves(operations.QUOTE)
def quote(user: str, symbol: str) -> Response:
    """QUOTE: a stock's current price."""
    return _execute(operations.QUOTE, user, symbol)


@serves(operations.BUY)
def buy(user: str) -> Response:
    """BUY: reserve cash for an amount's worth of shares at the current quote, to be committed within 60 s."""
    return _execute(operations.BUY, user)


@serves(operations.COMMIT_BUY)
def commit_buy(user: str) -> Response:
    """COMMIT_BUY: execute the newest pending buy."""
    return _execute(operations.COMMIT_BUY, user)


@serves(operations.CANCEL_BUY)
def cancel_buy(user: str) -> Response:
    """CANCEL_BUY: release the cash of the newest pending buy."""
    return _execute(operations.CANCEL_BUY, user)


@serves(operations.SELL)
def sell(user: str) -> Response:
    """SELL: reserve an amount's worth of shares at the current quote, to be committed within 60 s."""
    return _execute(operations.SELL, user)


@serves(operations.COMMIT_SELL)
def commit_sell(user: str) -> Response:
    """COMMIT_SELL: execute the newest pending sell."""
    return _execute(operations.COMMIT_SELL, user)


@serves(operations.CANCEL_SELL)
def cancel_sell(user: str) -> Response:
    """CANCEL_SELL: release the shares of the newest pending sell."""
    return _execute(operations.CANCEL_SELL, user)


@serves(operations.SET_BUY_AMOUNT)
def set_buy_amount(user: str) -> Response:
    """SET_BUY_AMOUNT: reserve cash for a buy trigger."""
    return _execute(operations.SET_BUY_AMOUNT, user)


@serves(operations.SET_BUY_TRIGGER)
def set_buy_trigger(user: str) -> Response:
    """SET_BUY_TRIGGER: buy when the price falls to this price."""
    return _execute(operations.SET_BUY_TRIGGER, user)


@serves(operations.CANCEL_SET_BUY)
def cancel_set_buy(user: str) -> Response:
    """CANCEL_SET_BUY: remove a buy trigger and release its cash."""
    return _execute(operations.CANCEL_SET_BUY, user)


@serves(operations.SET_SELL_AMOUNT)
def set_sell_amount(user: str) -> Response:
    """SET_SELL_AMOUNT: set the amount that a sell trigger sells."""
    return _execute(operations.SET_SELL_AMOUNT, user)


@serves(operations.SET_SELL_TRIGGER)
def set_sell_trigger(user: str) -> Response:
    """SET_SELL_TRIGGER: sell when the price rises to this price; reserves the shares."""
    return _execute(operations.SET_SELL_TRIGGER, user)


@serves(operations.CANCEL_SET_SELL)
def cancel_set_sell(user: str) -> Response:
    """CANCEL_SET_SELL: remove a sell trigger and release its shares."""
    return _execute(operations.CANCEL_SET_SELL, user)


@serves(operations.DISPLAY_SUMMARY)
def summary(user: str) -> Response:
    """DISPLAY_SUMMARY: the account, its triggers, pending orders and latest commands."""
    return _execute(operations.DISPLAY_SUMMARY, user)


@serves(operations.DUMPLOG)
def dumplog(user: str) -> Response:
    """DUMPLOG of one user's journal."""
    return _execute(operations.DUMPLOG, user)


@serves(operations.DUMPLOG_OF_ALL)
def dumplog_of_all() -> Response:
    """DUMPLOG of all journals, for operators; recorded in the operator's journal."""
    return _execute(operations.DUMPLOG_OF_ALL, None)


@serves(operations.DUMPED_LOG)
def dumped_log(user: str) -> Response:
    """Return the log of one user that DUMPLOG has written."""
    return hand_out_log(runtime(), routes.current_request, operations.DUMPED_LOG, user)


@serves(operations.DUMPED_LOG_OF_ALL)
def dumped_log_of_all() -> Response:
    """Return the log of all users that DUMPLOG has written, for operators."""
    return hand_out_log(runtime(), routes.current_request, operations.DUMPED_LOG_OF_ALL, None)


@serves(operations.ACCOUNT)
def account(user: str) -> Response:
    """Return an account with its latest events."""
    return show_account(runtime(), routes.current_request, user)


@serves(operations.HISTORY)
def history(user: str) -> Response:
    """Return an account's history, page by page."""
    return show_history(runtime(), routes.current_request, user)


@serves(operations.PRICES)
def prices(user: str) -> Response:
    """Return the current prices of several symbols."""
    return show_prices(runtime(), routes.current_request, user)


@serves(operations.PRICE_HISTORY)
def price_history(symbol: str) -> Response:
    """Return the prices that the system has seen of a symbol."""
    return show_price_history(runtime(), routes.current_request, symbol)


@serves(operations.PAGE)
def page() -> Response:
    """Return the trader's page; no token is needed for the page itself."""
    return index_response(routes.current_request, runtime().settings)


@serves(operations.ASSET)
def asset(version: str, name: str) -> Response:
    """Return a file that the page loads; no token is needed."""
    return asset_response(version, name)


@serves(operations.HEALTH)
def health() -> Response:
    """Whether this server can do its work; no token is needed."""
    found = runtime().health()
    return health_response(runtime().health() if renew_secrets() else found)


@serves(operations.OPENAPI)
def openapi() -> Response:
    """Return the interface as an OpenAPI document; no token is needed."""
    from chalicelib.http.openapi import document_text  # noqa: PLC0415 - a start need not wait for it

    return Response(document_text(), headers={"Content-Type": "application/json"})


def trace_request(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Answer a request as a span of its trace. As middleware it also sees requests that reach no view."""
    response: Response = runtime().instruments.request(event, get_response)
    return response


def finish_answers(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Add the security headers to every response, and make a problem of a 405.

    It is middleware, because Chalice calls no view for a method that a route does not have.
    """
    response = get_response(event)
    if response.status_code == 405:
        allowed = tuple(str(response.headers.get("Allow", "")).split(", "))
        response = error_response(MethodNotAllowedError(event.method, allowed))
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response
