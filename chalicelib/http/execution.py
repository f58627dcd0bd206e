"""Executes requests: authentication, limits, the command or read itself, and what is logged of it afterwards."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from chalice.app import Request, Response

from chalicelib.access.errors import UnauthorizedError
from chalicelib.access.tokens import Caller
from chalicelib.clock import moment, now_ms
from chalicelib.domain.errors import StoreUnavailableError, TradingError
from chalicelib.domain.names import parse_symbol, parse_user
from chalicelib.http.answers import answer_response
from chalicelib.http.operations import ACCOUNT, DUMPLOG, HISTORY, PRICE_HISTORY, PRICES, XML, Operation
from chalicelib.http.problems import consequence, error_response, problem_response
from chalicelib.http.reads import account_response, history_response, price_history_response, prices_response
from chalicelib.http.requests import arrived_ms, check_headers, read_command, read_query
from chalicelib.observe.commands import SeenCommand
from chalicelib.observe.timing import CommandTimer
from chalicelib.runtime import Runtime, renew_secrets, runtime
from chalicelib.service.trading import Answer
from chalicelib.store.errors import StoreError

log = logging.getLogger(__name__)

View = Callable[..., Response]

MAX_LOG_BYTES = 5 * 1024 * 1024
"""The largest log that is served: what a Lambda response can hold, and what a server buffers for each request."""

_UNHANDLED = "unhandled exception"


def answers_problems(view: View) -> View:
    """Turn errors into problems: Chalice makes a bare 500 of any exception that leaves a view.

    Only reads leave errors to this; `execute` answers those of commands.
    """

    @wraps(view)
    def answer(*args: Any, **parameters: Any) -> Response:
        try:
            try:
                return view(*args, **parameters)
            except (StoreUnavailableError, UnauthorizedError):
                if not renew_secrets():
                    raise
            return view(*args, **parameters)
        except TradingError as error:
            return error_response(error, is_command=False)
        except Exception:
            log.exception(_UNHANDLED)
            return _failed(is_command=False)

    return answer


def execute(
    parts: Runtime, request: Request, operation: Operation, user: str | None, symbol: str | None = None
) -> Response:
    """Execute a command and return its response; `user` is None for an operator's own account."""
    began = time.perf_counter()
    command = _CommandRequest(request, operation, user, symbol)
    try:
        response = answer_response(command.answer(parts))
    except TradingError as error:
        command.outcome = error.code
        response = error_response(error)
    except Exception:
        log.exception(_UNHANDLED)
        command.outcome = "internal_error"
        response = _failed()
    parts.observers(command.seen(time.perf_counter() - began))
    return response


class _CommandRequest:
    """A request for a command, and what is known of it so far, to be logged however far it got."""

    def __init__(self, request: Request, operation: Operation, path_user: str | None, symbol: str | None) -> None:
        self.request = request
        self.operation = operation
        self.path_user = path_user
        self.symbol = symbol
        self.timer = CommandTimer()
        self.arrived_ms = arrived_ms(request)
        self.late_seconds = None if self.arrived_ms is None else max(0, now_ms() - self.arrived_ms) / 1000
        self.user: str | None = None
        self.operator: str | None = None
        self.transaction: int | None = None
        self.outcome = ""
        self.replayed = False

    def answer(self, parts: Runtime) -> Answer:
        """Return the answer; raises TradingError.

        If a login failed and the secrets have changed, it is retried with the new ones; a command that may have been
        executed is retried only if it has an idempotency key.
        """
        try:
            return self._execute(parts)
        except (StoreUnavailableError, UnauthorizedError) as error:
            is_safe = isinstance(error, UnauthorizedError) or "idempotency-key" in self.request.headers
            if not (is_safe and renew_secrets()):
                raise
        return self._execute(runtime())

    def _execute(self, parts: Runtime) -> Answer:
        request, operation, user = self.request, self.operation, self.path_user
        check_headers(request)
        caller = parts.tokens.check(request.headers.get("authorization"))
        if user is None:
            caller.must_be_operator()
            user = caller.user
        caller.must_act_for(user)
        self.user = parse_user(user)
        self.operator = caller.user if caller.user != user else None
        _count(parts, caller, operation)
        command = read_command(request, operation, user, parts.transactions.next, self.symbol)
        self.transaction = command.transaction
        quota = None if caller.is_operator else parts.settings.dump_quota_mb * 1_000_000 or None
        answer = parts.trading.execute(command, self.arrived_ms, self.timer, quota)
        if operation is DUMPLOG and not caller.is_operator:
            answer = _without_server_path(answer, parts, user)
        self.transaction = answer.entry.transaction
        self.outcome, self.replayed = answer.entry.outcome, answer.replayed
        return answer

    def seen(self, seconds: float) -> SeenCommand:
        """Return what is logged and counted of the command, which took `seconds`."""
        timer = self.timer
        return SeenCommand(
            request_id=_request_id(self.request),
            user=self.user,
            command=str(self.operation.command),
            transaction=self.transaction,
            outcome=self.outcome,
            replayed=self.replayed,
            seconds=seconds,
            load_seconds=timer.load.seconds,
            quote_seconds=timer.quote.seconds,
            save_seconds=timer.save.seconds,
            quoted=timer.quoted,
            lost_races=timer.lost_races,
            kept=timer.kept,
            late_seconds=self.late_seconds,
            operator=self.operator,
        )


def show_account(parts: Runtime, request: Request, user: str) -> Response:
    """Return an account: a read, which leaves no trace in the journal; raises TradingError."""
    _caller(parts, request, user)
    given = read_query(request, ACCOUNT)
    with _reading():
        return account_response(parts.reads, user, given["after"], request.headers.get("if-none-match"))


def show_history(parts: Runtime, request: Request, user: str) -> Response:
    """Return a page of an account's history: a read, which leaves no trace in the journal; raises TradingError."""
    _caller(parts, request, user)
    given = read_query(request, HISTORY)
    with _reading():
        return history_response(parts.reads, user, given["before"], given["limit"], given["kind"], given["format"])


def hand_out_log(parts: Runtime, request: Request, operation: Operation, user: str | None) -> Response:
    """Return a log that DUMPLOG has written, of `user` or, for an operator, of all; raises TradingError.

    It is not a command: it changes nothing and is not audited, but the server's log records who asked for it.
    """
    caller = _caller(parts, request, user)
    filename = read_query(request, operation)["filename"]
    text = parts.dumps.read(user, filename, MAX_LOG_BYTES)
    log.info("a log of %s was sent to %s", user or "all users", caller.user)
    return Response(text.decode(), headers={"Content-Type": XML, "Content-Disposition": "attachment"})


def _caller(parts: Runtime, request: Request, user: str | None) -> Caller:
    """Return the caller of a read of `user`; None reads all users, for operators only. Raises TradingError."""
    check_headers(request)
    caller = parts.tokens.check(request.headers.get("authorization"))
    if user is None:
        caller.must_be_operator()
    else:
        caller.must_act_for(user)
        parse_user(user)
    _count(parts, caller)
    return caller


def _count(parts: Runtime, caller: Caller, operation: Operation | None = None) -> None:
    """Count a trader's request towards its limits; raises RateLimitedError."""
    if caller.is_operator:
        return
    if parts.rate_limit is not None:
        parts.rate_limit.take(caller.user)
    if operation is DUMPLOG and parts.dump_rate_limit is not None:
        parts.dump_rate_limit.take(caller.user)


def show_prices(parts: Runtime, request: Request, user: str) -> Response:
    """Return current prices: a read, whose hits on the source go to the system's journal. Raises TradingError."""
    caller = _caller(parts, request, user)
    given = read_query(request, PRICES)
    return prices_response(parts.prices, given["symbols"], caller.user, moment())


def show_price_history(parts: Runtime, request: Request, symbol: str) -> Response:
    """Return the prices seen of a symbol, for any caller; raises TradingError."""
    check_headers(request)
    caller = parts.tokens.check(request.headers.get("authorization"))
    _count(parts, caller)
    given = read_query(request, PRICE_HISTORY)
    return price_history_response(parts.price_history, parse_symbol(symbol), given["since"], now_ms())


@contextmanager
def _reading() -> Iterator[None]:
    """Turn the store's errors into those of the interface."""
    try:
        yield
    except StoreError as error:
        log.warning("the database did not answer a read: %s", error)
        raise StoreUnavailableError("the database did not answer") from error


def _without_server_path(answer: Answer, parts: Runtime, user: str) -> Answer:
    """Return the answer to a trader's DUMPLOG without the server's path of the log, which is for operators."""
    assert answer.entry.filename is not None
    location = parts.dumps.public_location(user, answer.entry.filename)
    return answer._replace(result={**answer.result, "location": location})


def _request_id(request: Request) -> str:
    """Return the request id of API Gateway, which the client sees too; `chalice local` gives only the function's."""
    return str(request.context.get("requestId") or getattr(request.lambda_context, "aws_request_id", ""))


def _failed(*, is_command: bool = True) -> Response:
    meaning = consequence("internal_error", is_command=is_command)
    return problem_response("internal_error", f"the server failed, its log says why; {meaning}")
