"""The sixteen commands of the trading interface over HTTP: their routes, and what their answers mean."""

from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as json_string
from typing import Any
from urllib.parse import quote

from loadgen.client.dialect import Verdict
from loadgen.client.encoding import RequestWriter, Target
from loadgen.client.response import Response
from loadgen.client.retry import RETRY_STATUSES, parse_object, redirection, retry_after_s
from loadgen.workload.commands import COMMANDS, LOG_TIMEOUT_S, WHOLE_LOG
from loadgen.workload.files import Command

_FINAL_STATUSES = frozenset({200, 400, 409, 422})
"""Success, a malformed request, a rejection by the rules, a reused key: retrying does not change these."""

CODES = frozenset({
    "invalid_amount", "invalid_symbol", "invalid_user", "invalid_filename", "invalid_header", "invalid_json",
    "missing_field", "unknown_field", "unauthorized", "forbidden", "not_found", "method_not_allowed", "too_large",
    "unsupported_media_type", "insufficient_funds", "insufficient_shares", "amount_below_price", "no_pending_buy",
    "no_pending_sell", "no_buy_amount", "no_sell_amount", "order_changed", "idempotency_key_reused", "rate_limited",
    "quote_unavailable", "clock_skew", "auth_unavailable", "too_late", "unknown_data_version", "store_unavailable",
    "too_many_orders", "too_many_triggers", "too_many_holdings", "cash_limit", "account_full", "not_supported",
    "index_conflict", "dump_quota",
})  # fmt: skip
"""The codes with which the interface refuses or rejects."""


class TradingDialect:
    """Trading commands, each with an idempotency key: the run's id and the command's number."""

    def __init__(self, writer: RequestWriter, target: Target, run_id: str) -> None:
        self._writer = writer
        self._target = target
        self._run_id = run_id

    def encode(self, item: Command) -> bytes:
        """Return the request of a command, with its idempotency key and its transaction number."""
        number = item.transaction
        return self.request(item, f"Idempotency-Key: {self._run_id}-{number}\r\nX-Transaction-Num: {number}\r\n")

    def request(self, item: Command, identity: str) -> bytes:
        """Return a command's request, with header lines (each ended by CRLF) that identify it."""
        if COMMANDS[item.name].reads:
            return self._writer.get(_path(item), identity)
        return self._writer.post(_path(item), _body(item), identity)

    def request_line(self, item: Command) -> tuple[str, str]:
        """Return method and path of a command's request."""
        return "GET" if COMMANDS[item.name].reads else "POST", self._target.prefix + _path(item)

    def timeout_s(self, item: Command) -> float | None:
        """Return a DUMPLOG's time-out, or None for other commands."""
        return LOG_TIMEOUT_S if item.name == "DUMPLOG" else None

    def may_repeat(self, item: Command | None) -> bool:  # noqa: ARG002 (the same for all)
        """Return True: every command has a key."""
        return True

    def judge(self, response: Response, item: Command | None) -> Verdict:
        """Return the meaning of a response. An answer with another command's number belongs to that command."""
        status = response.status
        body = parse_object(response.body)
        if status == 200:
            if body is not None and (item is None or body.get("transaction", item.transaction) == item.transaction):
                return _OK
            return _judge_wrong_success(body, item)
        found = body.get("code") if body is not None else None
        code = found if isinstance(found, str) else f"http_{status}"
        if status in RETRY_STATUSES:
            return Verdict(final=False, again=True, code=code, retry_after_s=retry_after_s(response))
        if status in _FINAL_STATUSES:
            if not isinstance(found, str):
                return _broken(f"the answer has status {status} and no code of the interface")
            return Verdict(final=True, again=False, code=code)
        return Verdict(final=False, again=False, code=code, said=redirection(response))

    def account(self, user: str) -> bytes:
        """Return a request for a user's account: a read, which leaves nothing in the log."""
        return self._writer.get(f"{_user_path(user)}/account")

    def history(self, user: str, version: int, entries: int) -> bytes:
        """Return a request for the latest entries of a user's journal at a version: also a read."""
        return self._writer.get(f"{_user_path(user)}/history?before={version + 1}&limit={entries}")

    def dumplog(self, filename: str) -> bytes:
        """Return a request for the audit log of all users, outside the workload."""
        return self._writer.post(WHOLE_LOG.path, f'{{"filename":{json_string(filename)}}}')


_OK = Verdict(final=True, again=False, code="ok")


def _judge_wrong_success(body: Mapping[str, Any] | None, item: Command | None) -> Verdict:
    if body is None or item is None:
        return _broken("the answer is not a JSON object")
    said = f"the answer is that to command [{body['transaction']}], not to [{item.transaction}]"
    return Verdict(final=False, again=True, code="other_answer", said=said, desynchronised=True)


def _broken(said: str) -> Verdict:
    return Verdict(final=False, again=True, code="broken_answer", said=said, desynchronised=True)


def _path(command: Command) -> str:
    if command.user is None:
        return WHOLE_LOG.path
    path = _user_path(command.user) + COMMANDS[command.name].path
    return path + _quoted(command.symbol or "") if path.endswith("/") else path


@lru_cache(maxsize=1 << 16)
def _user_path(user: str) -> str:
    return f"/users/{quote(user, safe='')}"


@lru_cache(maxsize=1 << 12)
def _quoted(text: str) -> str:
    return quote(text, safe="")


def _body(command: Command) -> str:
    """Return the JSON body, ASCII only."""
    symbol, value = command.symbol, command.value
    if value is None:
        return "{}" if symbol is None else f'{{"symbol":{json_string(symbol)}}}'
    field = COMMANDS[command.name].fields[-1]
    if symbol is None:
        return f'{{"{field}":{json_string(value)}}}'
    return f'{{"symbol":{json_string(symbol)},"{field}":{json_string(value)}}}'
