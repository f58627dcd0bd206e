"""JSON Schemas of what is sent: the values in requests and the bodies of responses.

The parsers of `chalicelib/domain` decide what is accepted; tests compare them with the schemas of values, and every
response of the running system with the schemas of bodies.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.domain.commands import MAX_TRANSACTION, CommandName
from chalicelib.domain.history import EventKind
from chalicelib.domain.money import MAX_CENTS
from chalicelib.domain.names import MAX_FILENAME_BYTES, MAX_ORDER

Schema = Mapping[str, Any]

MAX_KEY_LENGTH = 128

USER: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "examples": ["jane"]}
SYMBOL: Schema = {
    "type": "string",
    "description": "A stock symbol. Lower case is accepted and stored in upper case.",
    "pattern": "^[A-Za-z]{1,3}$",
    "examples": ["ABC"],
}
AMOUNT: Schema = {
    "description": "Greater than 0, at most 1000000000.00, with at most two decimal places (zeros behind them do not "
    "count); a string or a number.",
    "anyOf": [
        {
            "type": "string",
            "pattern": r"^(?!0+(\.0+)?$)([0-9]{1,9}(\.[0-9]{1,2}0*)?|0[0-9]{9}(\.[0-9]{1,2}0*)?|1000000000(\.0+)?)$",
        },
        {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_CENTS // 100, "multipleOf": 0.01},
    ],
    "examples": ["100.00"],
}
FILENAME: Schema = {
    "type": "string",
    "description": (
        "A plain name: printable, no slash or backslash, no blank at either end, not `.` or `..`, at most "
        f"{MAX_FILENAME_BYTES} bytes in UTF-8. A leading `./` is dropped."
    ),
    "minLength": 1,
    "maxLength": MAX_FILENAME_BYTES + 2,
    "pattern": r"^(\./)?[^/\\\x00-\x1f\x7f]+$",
    "examples": ["log.xml"],
}
KEY: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_KEY_LENGTH,
    "pattern": "^[!-~]([ -~]{0,126}[!-~])?$",
    "examples": ["5f0c2a4e-buy-1"],
}
TRANSACTION: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_TRANSACTION, "examples": [17]}

MONEY: Schema = {"type": "string", "pattern": r"^[0-9]+\.[0-9]{2}$", "examples": ["4712.10"]}
STORED_SYMBOL: Schema = {"type": "string", "pattern": "^[A-Z]{1,3}$", "examples": ["ABC"]}
SHARES: Schema = {"type": "integer", "minimum": 0, "examples": [12]}
SOME_SHARES: Schema = {"type": "integer", "minimum": 1, "examples": [12]}
TIME: Schema = {
    "type": "integer",
    "minimum": 0,
    "description": "Milliseconds since the Unix epoch, UTC.",
    "examples": [1735689600000],
}
SERVER_TIME: Schema = {
    "type": "integer",
    "description": "The quote server's time, in milliseconds since the Unix epoch; any number, if its clock is wrong.",
    "examples": [1735689600000],
}
TEXT: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}


def an_object(properties: Mapping[str, Schema], optional: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def a_list(items: Schema, most: int | None = None) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **({} if most is None else {"maxItems": most})}


def choice(values: Sequence[str]) -> dict[str, Any]:
    """Return the schema of one of these values; the first is the default."""
    return {"type": "string", "enum": list(values), "default": values[0], "examples": [values[0]]}


def or_null(schema: Schema) -> dict[str, Any]:
    """Return a schema that also takes null."""
    return {**schema, "type": [schema["type"], "null"]}


ORDER: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_ORDER,
    "description": "The number of an order.",
    "examples": [17],
}
_ORDER: Mapping[str, Schema] = {
    "order": {**ORDER, "minimum": 0, "description": "Its number; 0 for one of before orders had numbers."},
    "symbol": STORED_SYMBOL,
    "shares": SOME_SHARES,
    "price": MONEY,
}
BOUGHT: Mapping[str, Schema] = {**_ORDER, "cost": MONEY}
SOLD: Mapping[str, Schema] = {**_ORDER, "proceeds": MONEY}
PENDING_BUY: Mapping[str, Schema] = {**BOUGHT, "expires_at": TIME}
PENDING_SELL: Mapping[str, Schema] = {**SOLD, "expires_at": TIME}
BUY_TRIGGER: Mapping[str, Schema] = {"symbol": STORED_SYMBOL, "amount": MONEY, "price": or_null(MONEY)}
SELL_TRIGGER: Mapping[str, Schema] = {**BUY_TRIGGER, "shares": SHARES}
SYMBOLS: Schema = {
    "type": "string",
    "description": "1 to 50 stock symbols, with commas between them.",
    "pattern": "^[A-Za-z]{1,3}(,[A-Za-z]{1,3}){0,49}$",
    "examples": ["ABC,XYZ"],
}
PRICED: Mapping[str, Schema] = {
    "price": MONEY,
    "timestamp": SERVER_TIME,
    "valid_until": TIME,
    "cached": {**BOOLEAN, "examples": [True]},
}
QUOTED: Mapping[str, Schema] = {
    "symbol": STORED_SYMBOL,
    "price": MONEY,
    "timestamp": SERVER_TIME,
    "cryptokey": TEXT,
    "cached": BOOLEAN,
}
DUMPED: Mapping[str, Schema] = {
    "location": {
        **TEXT,
        "description": "The URL of an object in S3, or a path: for operators on the server, for traders below that.",
    },
    "events": {"type": "integer", "minimum": 0, "examples": [42]},
    "url": {**TEXT, "description": "A link that needs no token, for a while; where the place has such links."},
}
DUMPED_OPTIONAL = frozenset({"url"})


SEQUENCE: Schema = {
    "type": "integer",
    "minimum": 1,
    "description": "The sequence number of an entry in the user's journal.",
    "examples": [17],
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50, "examples": [50]}
EVENT_ID: Schema = {
    "type": "string",
    "pattern": r"^[0-9]{1,15}\.[0-9]{1,15}$",
    "description": "The id of an event: the sequence number of its entry, and its place in it.",
    "examples": ["17.0"],
}
_EVENT: Mapping[str, Schema] = {
    "id": EVENT_ID,
    "timestamp": TIME,
    "kind": {"type": "string", "enum": [str(kind) for kind in EventKind]},
    "transaction": TRANSACTION,
    "order": {**ORDER, "minimum": 0},
    "side": {"type": "string", "enum": ["buy", "sell"]},
    "symbol": STORED_SYMBOL,
    "shares": SHARES,
    "price": MONEY,
    "money": MONEY,
}
EVENT = an_object(_EVENT, optional=frozenset({"order", "side", "symbol", "shares", "price", "money"}))
POSITIONS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": STORED_SYMBOL["pattern"]},
    "additionalProperties": an_object(
        {
            "shares": {**SOME_SHARES, "description": "All that is held, reserved ones included."},
            "reserved": SHARES,
            "cost": {**or_null(MONEY), "description": "What they have cost, by average cost; null where unknown."},
        }
    ),
    "examples": [{"ABC": {"shares": 12, "reserved": 3, "cost": "1500.00"}}],
}
HOLDINGS: Schema = {
    "type": "object",
    "propertyNames": {"pattern": STORED_SYMBOL["pattern"]},
    "additionalProperties": SOME_SHARES,
    "examples": [{"ABC": 12}],
}
ACCOUNT: Mapping[str, Schema] = {
    "user": USER,
    "exists": BOOLEAN,
    "version": {"type": "integer", "minimum": 0, "examples": [17]},
    "cash": MONEY,
    "reserved_cash": MONEY,
    "holdings": HOLDINGS,
    "positions": POSITIONS,
    "realised": {**MONEY, "pattern": r"^-?[0-9]+\.[0-9]{2}$"},
    "pending_buys": a_list(an_object(PENDING_BUY)),
    "pending_sells": a_list(an_object(PENDING_SELL)),
    "buy_triggers": a_list(an_object(BUY_TRIGGER)),
    "sell_triggers": a_list(an_object(SELL_TRIGGER)),
    "events": a_list(EVENT, most=200),
    "more": BOOLEAN,
}


def history_entry(outcomes: frozenset[str]) -> dict[str, Any]:
    """Return the schema of an entry of the history, whose outcome is `ok` or the code of a rejection or refusal."""
    return an_object(
        {
            "sequence": SEQUENCE,
            "transaction": TRANSACTION,
            "timestamp": TIME,
            "command": {"type": ["string", "null"], "enum": [*(str(name) for name in CommandName), None]},
            "outcome": {"type": "string", "enum": ["ok", *sorted(outcomes)]},
            "detail": or_null(TEXT),
            "symbol": or_null(STORED_SYMBOL),
            "amount": or_null(MONEY),
            "cash": MONEY,
            "events": a_list(EVENT),
        }
    )


def past_command(outcomes: frozenset[str]) -> dict[str, Any]:
    """Return the schema of a line of the history, whose outcome is `ok` or the code of a rejection or refusal."""
    return an_object(
        {
            "transaction": TRANSACTION,
            "timestamp": TIME,
            "command": {"type": "string", "enum": [str(name) for name in CommandName]},
            "symbol": or_null(STORED_SYMBOL),
            "amount": or_null(MONEY),
            "outcome": {"type": "string", "enum": ["ok", *sorted(outcomes)]},
        }
    )
