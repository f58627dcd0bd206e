"""The operations of the interface, each defined once: its route, its parameters and its answer.

`routes.py` serves this table, `requests.py` checks requests by it, and `openapi.py` describes it to clients.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.commands import PRICED, CommandName
from chalicelib.domain.errors import FIELD_CODES
from chalicelib.domain.money import parse_cents
from chalicelib.domain.names import parse_filename, parse_order, parse_symbol
from chalicelib.http import schemas
from chalicelib.http.page import ASSET_TYPES, INDEX_TYPE
from chalicelib.http.query import (
    FORMATS,
    KINDS,
    parse_event_id,
    parse_format,
    parse_kind,
    parse_limit,
    parse_sequence,
    parse_symbols,
    parse_time,
)
from chalicelib.http.schemas import Schema, a_list, an_object, or_null
from chalicelib.service.reads import MOST_ENTRIES

Parser = Callable[[object, str], Any]

JSON = "application/json"
XML = "application/xml"
CSV = "text/csv"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body or query: its name on the wire and in the command, its parser and the code of its refusal.

    One that is not `required` may be left out.
    """

    name: str
    parameter: str
    parse: Parser
    schema: Schema
    code: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `fields` are those of its body, `query` its query parameters.

    `answer` is what its answer has besides the common fields; it is empty if the answer is not a JSON object, and
    `media_types` say what it is. `rejections` are the codes of docs/rules.md section 3 that it may return. A `public`
    operation needs no token.
    """

    name: str
    method: str
    path: str
    summary: str
    command: CommandName | None = None
    fields: tuple[Field, ...] = ()
    answer: Mapping[str, Schema] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    rejections: tuple[str, ...] = ()
    of_all: bool = False
    query: tuple[Field, ...] = ()
    media_types: tuple[str, ...] = (JSON,)
    public: bool = False

    @property
    def is_priced(self) -> bool:
        """Return whether it needs a current quote."""
        return self.command in PRICED


def _query(name: str, parse: Parser, schema: Schema) -> Field:
    return Field(name, name, parse, schema, "invalid_query", required=False)


SYMBOL = Field("symbol", "symbol", parse_symbol, schemas.SYMBOL, "invalid_symbol")
AMOUNT = Field("amount", "amount_cents", parse_cents, schemas.AMOUNT, "invalid_amount")
PRICE = Field("price", "amount_cents", parse_cents, schemas.AMOUNT, "invalid_amount")
FILENAME = Field("filename", "filename", parse_filename, schemas.FILENAME, "invalid_filename")
ORDER = Field("order", "order", parse_order, schemas.ORDER, "invalid_order", required=False)
SYMBOLS = Field("symbols", "symbols", parse_symbols, schemas.SYMBOLS, "invalid_symbol")
SINCE = _query("since", parse_time, schemas.TIME)
AFTER = _query("after", parse_event_id, schemas.EVENT_ID)
BEFORE = _query("before", parse_sequence, schemas.SEQUENCE)
LIMIT = _query("limit", parse_limit, schemas.LIMIT)
KIND = _query("kind", parse_kind, schemas.choice(KINDS))
FORMAT = _query("format", parse_format, schemas.choice(FORMATS))

_BELOW, _FUNDS, _SHARES = "amount_below_price", "insufficient_funds", "insufficient_shares"
_ORDERS, _TRIGGERS, _HOLDINGS, _CASH = "too_many_orders", "too_many_triggers", "too_many_holdings", "cash_limit"
_CACHED: Mapping[str, Schema] = {"cached": schemas.BOOLEAN}


def _post(
    command: CommandName,
    summary: str,
    fields: tuple[Field, ...],
    answer: Mapping[str, Schema],
    *rejections: str,
) -> Operation:
    name = command.lower()
    path = f"/users/{{user}}/{name.replace('_', '-')}"
    return Operation(name, "POST", path, summary, command, fields, answer, rejections=rejections)


ADD = _post(CommandName.ADD, "Put cash into the account.", (AMOUNT,), {}, _CASH)
QUOTE = Operation(
    "quote",
    "GET",
    "/users/{user}/quote/{symbol}",
    "The current price of a stock.",
    CommandName.QUOTE,
    answer=schemas.QUOTED,
)
BUY = _post(
    CommandName.BUY,
    "Take an amount's worth of shares at the current quote, to be committed within 60 s.",
    (SYMBOL, AMOUNT),
    {**schemas.PENDING_BUY, **_CACHED},
    _BELOW,
    _FUNDS,
    _ORDERS,
    _HOLDINGS,
)
COMMIT_BUY = _post(
    CommandName.COMMIT_BUY,
    "Take the shares of the newest pending buy.",
    (ORDER,),
    schemas.BOUGHT,
    "no_pending_buy",
    "order_changed",
    _HOLDINGS,
    _CASH,
)
CANCEL_BUY = _post(
    CommandName.CANCEL_BUY,
    "Take back the cash of the newest pending buy.",
    (ORDER,),
    schemas.BOUGHT,
    "no_pending_buy",
    "order_changed",
)
SELL = _post(
    CommandName.SELL,
    "Offer an amount's worth of shares at the current quote, to be committed within 60 s.",
    (SYMBOL, AMOUNT),
    {**schemas.PENDING_SELL, **_CACHED},
    _BELOW,
    _SHARES,
    _ORDERS,
)
COMMIT_SELL = _post(
    CommandName.COMMIT_SELL,
    "Take the proceeds of the newest pending sell.",
    (ORDER,),
    schemas.SOLD,
    "no_pending_sell",
    "order_changed",
    _CASH,
)
CANCEL_SELL = _post(
    CommandName.CANCEL_SELL,
    "Take back the shares of the newest pending sell.",
    (ORDER,),
    schemas.SOLD,
    "no_pending_sell",
    "order_changed",
)
SET_BUY_AMOUNT = _post(
    CommandName.SET_BUY_AMOUNT,
    "Set cash aside for a buy trigger.",
    (SYMBOL, AMOUNT),
    schemas.BUY_TRIGGER,
    _FUNDS,
    _TRIGGERS,
    _HOLDINGS,
)
SET_BUY_TRIGGER = _post(
    CommandName.SET_BUY_TRIGGER,
    "Buy when the price falls to this.",
    (SYMBOL, PRICE),
    schemas.BUY_TRIGGER,
    "no_buy_amount",
)
CANCEL_SET_BUY = _post(
    CommandName.CANCEL_SET_BUY,
    "Remove a buy trigger and take its cash back.",
    (SYMBOL,),
    schemas.BUY_TRIGGER,
    "no_buy_amount",
)
SET_SELL_AMOUNT = _post(
    CommandName.SET_SELL_AMOUNT,
    "Say for how much a sell trigger sells.",
    (SYMBOL, AMOUNT),
    schemas.SELL_TRIGGER,
    _SHARES,
    _BELOW,
    _TRIGGERS,
)
SET_SELL_TRIGGER = _post(
    CommandName.SET_SELL_TRIGGER,
    "Sell when the price rises to this; reserves the shares.",
    (SYMBOL, PRICE),
    schemas.SELL_TRIGGER,
    "no_sell_amount",
    _BELOW,
    _SHARES,
)
CANCEL_SET_SELL = _post(
    CommandName.CANCEL_SET_SELL,
    "Remove a sell trigger and take its shares back.",
    (SYMBOL,),
    schemas.SELL_TRIGGER,
    "no_sell_amount",
)
_REJECTIONS = frozenset(
    code
    for operation in (
        *(ADD, BUY, COMMIT_BUY, SELL, COMMIT_SELL),
        *(SET_BUY_AMOUNT, SET_BUY_TRIGGER, SET_SELL_AMOUNT, SET_SELL_TRIGGER),
    )
    for code in operation.rejections
)
_NOT_DONE = _REJECTIONS | FIELD_CODES
DISPLAY_SUMMARY = Operation(
    "summary",
    "GET",
    "/users/{user}/summary",
    "The account, its triggers, its pending orders (newest last) and its latest commands (newest first).",
    CommandName.DISPLAY_SUMMARY,
    answer={
        "holdings": schemas.HOLDINGS,
        "pending_buys": a_list(an_object(schemas.PENDING_BUY)),
        "pending_sells": a_list(an_object(schemas.PENDING_SELL)),
        "buy_triggers": a_list(an_object(schemas.BUY_TRIGGER)),
        "sell_triggers": a_list(an_object(schemas.SELL_TRIGGER)),
        "history": a_list(schemas.past_command(_NOT_DONE), most=20),
    },
)
DUMPLOG = Operation(
    "dumplog",
    "POST",
    "/users/{user}/dumplog",
    "Write the audit log of one user.",
    CommandName.DUMPLOG,
    (FILENAME,),
    schemas.DUMPED,
    schemas.DUMPED_OPTIONAL,
    rejections=("dump_quota",),
)
DUMPLOG_OF_ALL = Operation(
    "dumplog_of_all",
    "POST",
    "/dumplog",
    "Write the audit log of all users; for operators.",
    CommandName.DUMPLOG,
    (FILENAME,),
    schemas.DUMPED,
    schemas.DUMPED_OPTIONAL,
    of_all=True,
)
DUMPED_LOG = Operation(
    "dumped_log",
    "GET",
    "/users/{user}/dumplog",
    "The audit log of one user, as DUMPLOG wrote it; where logs are kept in a folder, and up to 5 MiB.",
    query=(FILENAME,),
    media_types=(XML,),
)
DUMPED_LOG_OF_ALL = Operation(
    "dumped_log_of_all",
    "GET",
    "/dumplog",
    "The audit log of all users, as DUMPLOG wrote it; for operators, where logs are kept in a folder, and up to 5 MiB.",
    of_all=True,
    query=(FILENAME,),
    media_types=(XML,),
)
ACCOUNT = Operation(
    "account",
    "GET",
    "/users/{user}/account",
    "The account as it is, and what happened to it: a read, which makes no account and leaves nothing in the log.",
    query=(AFTER,),
    answer=schemas.ACCOUNT,
)
HISTORY = Operation(
    "history",
    "GET",
    "/users/{user}/history",
    "The entries of the user's journal, newest first, page by page: a read, which leaves nothing in the log.",
    query=(BEFORE, LIMIT, KIND, FORMAT),
    answer={
        "entries": a_list(schemas.history_entry(_NOT_DONE), most=MOST_ENTRIES),
        "next": or_null(schemas.SEQUENCE),
    },
    media_types=(JSON, CSV),
)
PRICES = Operation(
    "prices",
    "GET",
    "/users/{user}/prices",
    "Current quotes of up to 50 symbols: a read; a hit on the source stands in the log of all, not in the user's.",
    query=(SYMBOLS,),
    answer={
        "prices": {
            "type": "object",
            "propertyNames": {"pattern": schemas.STORED_SYMBOL["pattern"]},
            "additionalProperties": an_object(schemas.PRICED),
            "examples": [{"ABC": {name: value["examples"][0] for name, value in schemas.PRICED.items()}}],
        },
        "unavailable": {**a_list(schemas.STORED_SYMBOL), "examples": [["XYZ"]]},
    },
)
PRICE_HISTORY = Operation(
    "price_history",
    "GET",
    "/prices/{symbol}/history",
    "The prices seen of a symbol in the last 24 h, oldest first: at most one a minute, and 500 in all.",
    query=(SINCE,),
    answer={
        "points": {
            "type": "array",
            "maxItems": 500,
            "items": {"type": "array", "items": {"anyOf": [schemas.TIME, schemas.MONEY]}, "minItems": 2, "maxItems": 2},
            "examples": [[[1735689600000, "12.34"]]],
        },
    },
)
HEALTH = Operation("health", "GET", "/health", "Whether this server can do its work.", public=True)
OPENAPI = Operation("openapi", "GET", "/openapi.json", "This document.", public=True)
PAGE = Operation("page", "GET", "/", "The trader's page.", media_types=(INDEX_TYPE,), public=True)
ASSET = Operation(
    "asset",
    "GET",
    "/assets/{version}/{name}",
    "A file that the trader's page loads.",
    media_types=tuple(ASSET_TYPES.values()),
    public=True,
)

OPERATIONS: tuple[Operation, ...] = (
    *(ADD, QUOTE, BUY, COMMIT_BUY, CANCEL_BUY, SELL, COMMIT_SELL, CANCEL_SELL),
    *(SET_BUY_AMOUNT, SET_BUY_TRIGGER, CANCEL_SET_BUY, SET_SELL_AMOUNT, SET_SELL_TRIGGER, CANCEL_SET_SELL),
    *(DISPLAY_SUMMARY, DUMPLOG, DUMPLOG_OF_ALL, DUMPED_LOG, DUMPED_LOG_OF_ALL, ACCOUNT, HISTORY, PRICES, PRICE_HISTORY),
    *(HEALTH, OPENAPI, PAGE, ASSET),
)
