"""The routes: one function a command (API.md). No rule of trading lives here."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from chalice.app import Blueprint, Request, Response

from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import MethodNotAllowedError, TradingError
from chalicelib.domain.names import parse_user
from chalicelib.http.answers import answer_response
from chalicelib.http.auth import check_token
from chalicelib.http.health import health_response
from chalicelib.http.problems import error_response, problem_response
from chalicelib.http.requests import read_command
from chalicelib.runtime import runtime

log = logging.getLogger(__name__)

routes = Blueprint(__name__)

ANY_TYPE = ["*/*"]
"""Bodies are checked by `read_body`, which answers in problem+json; Chalice's own check does not."""

View = Callable[..., Response]


def answers_problems(view: View) -> View:
    """Turn errors into problems at the route's edge: Chalice makes a bare 500 of any exception that leaves a view."""

    @wraps(view)
    def answer(*args: Any, **parameters: Any) -> Response:
        try:
            return view(*args, **parameters)
        except TradingError as error:
            return error_response(error)
        except Exception:
            log.exception("a command failed for a reason nobody thought of")
            return problem_response("internal_error", "the server failed; the failure is in its log")

    return answer


def post(path: str) -> Callable[[View], View]:
    """Register a view for POST."""
    return _route(path, "POST")


def get(path: str) -> Callable[[View], View]:
    """Register a view for GET."""
    return _route(path, "GET")


def _route(path: str, method: str) -> Callable[[View], View]:
    def register(view: View) -> View:
        registered: View = routes.route(path, methods=[method], content_types=ANY_TYPE)(answers_problems(view))
        return registered

    return register


def _execute(name: CommandName, user: str, symbol: str | None = None) -> Response:
    request, parts = _request(), runtime()
    caller = check_token(request.headers.get("authorization"), parts.settings.auth_secret)
    caller.must_act_for(user)
    command = read_command(request, name, parse_user(user), parts.transactions.next, symbol=symbol)
    return answer_response(parts.trading.execute(command))


def _request() -> Request:
    request: Request = routes.current_request
    return request


@post("/users/{user}/add")
def add(user: str) -> Response:
    """ADD: put cash into the account."""
    return _execute(CommandName.ADD, user)


@get("/users/{user}/quote/{symbol}")
def quote(user: str, symbol: str) -> Response:
    """QUOTE: the current price of a stock."""
    return _execute(CommandName.QUOTE, user, symbol)


@post("/users/{user}/buy")
def buy(user: str) -> Response:
    """BUY: take an amount's worth of shares at the current quote, to be committed within 60 s."""
    return _execute(CommandName.BUY, user)


@post("/users/{user}/commit-buy")
def commit_buy(user: str) -> Response:
    """COMMIT_BUY: take the shares of the newest pending buy."""
    return _execute(CommandName.COMMIT_BUY, user)


@post("/users/{user}/cancel-buy")
def cancel_buy(user: str) -> Response:
    """CANCEL_BUY: take back the cash of the newest pending buy."""
    return _execute(CommandName.CANCEL_BUY, user)


@post("/users/{user}/sell")
def sell(user: str) -> Response:
    """SELL: offer an amount's worth of shares at the current quote, to be committed within 60 s."""
    return _execute(CommandName.SELL, user)


@post("/users/{user}/commit-sell")
def commit_sell(user: str) -> Response:
    """COMMIT_SELL: take the proceeds of the newest pending sell."""
    return _execute(CommandName.COMMIT_SELL, user)


@post("/users/{user}/cancel-sell")
def cancel_sell(user: str) -> Response:
    """CANCEL_SELL: take back the shares of the newest pending sell."""
    return _execute(CommandName.CANCEL_SELL, user)


@post("/users/{user}/set-buy-amount")
def set_buy_amount(user: str) -> Response:
    """SET_BUY_AMOUNT: set cash aside for a buy trigger."""
    return _execute(CommandName.SET_BUY_AMOUNT, user)


@post("/users/{user}/set-buy-trigger")
def set_buy_trigger(user: str) -> Response:
    """SET_BUY_TRIGGER: buy when the price falls to this."""
    return _execute(CommandName.SET_BUY_TRIGGER, user)


@post("/users/{user}/cancel-set-buy")
def cancel_set_buy(user: str) -> Response:
    """CANCEL_SET_BUY: remove a buy trigger and take its cash back."""
    return _execute(CommandName.CANCEL_SET_BUY, user)


@post("/users/{user}/set-sell-amount")
def set_sell_amount(user: str) -> Response:
    """SET_SELL_AMOUNT: say for how much a sell trigger sells."""
    return _execute(CommandName.SET_SELL_AMOUNT, user)


@post("/users/{user}/set-sell-trigger")
def set_sell_trigger(user: str) -> Response:
    """SET_SELL_TRIGGER: sell when the price rises to this; reserves the shares."""
    return _execute(CommandName.SET_SELL_TRIGGER, user)


@post("/users/{user}/cancel-set-sell")
def cancel_set_sell(user: str) -> Response:
    """CANCEL_SET_SELL: remove a sell trigger and take its shares back."""
    return _execute(CommandName.CANCEL_SET_SELL, user)


@get("/users/{user}/summary")
def summary(user: str) -> Response:
    """DISPLAY_SUMMARY: the account, its triggers, pending orders and latest commands."""
    return _execute(CommandName.DISPLAY_SUMMARY, user)


@post("/users/{user}/dumplog")
def dumplog(user: str) -> Response:
    """DUMPLOG of one user's journal."""
    return _execute(CommandName.DUMPLOG, user)


@post("/dumplog")
def dumplog_of_all() -> Response:
    """DUMPLOG of all journals, for operators; it stands in the journal of the operator who gave it."""
    request, parts = _request(), runtime()
    caller = check_token(request.headers.get("authorization"), parts.settings.auth_secret)
    caller.must_be_operator()
    command = read_command(request, CommandName.DUMPLOG, caller.user, parts.transactions.next, of_all=True)
    return answer_response(parts.trading.execute(command))


@get("/health")
def health() -> Response:
    """Whether this server can do its work; no token is needed."""
    parts = runtime()
    return health_response(parts.database, parts.redis)


def method_problems(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Answer a method that a route does not have in problem+json, as middleware: Chalice asks no view then."""
    response = get_response(event)
    if response.status_code == 405:
        allowed = tuple(str(response.headers.get("Allow", "")).split(", "))
        return error_response(MethodNotAllowedError(event.method, allowed))
    return response
