"""Parsers of query parameters (docs/api.md)."""

from chalicelib.domain.names import parse_symbol
from chalicelib.http.errors import InvalidQueryError
from chalicelib.service.reads import MOST_ENTRIES, EventId

KINDS = ("all", "trades")
FORMATS = ("json", "csv")
MOST_SYMBOLS = 50


def parse_event_id(value: object, field: str) -> EventId:
    """Return the event that an id names; raises InvalidQueryError unless it looks like `17.0`."""
    sequence, dot, place = str(value).partition(".")
    if not (dot and _is_count(sequence) and _is_count(place)):
        raise InvalidQueryError(field, "must be the id of an event, such as 17.0")
    return EventId(int(sequence), int(place))


def parse_sequence(value: object, field: str) -> int:
    """Return a sequence number; raises InvalidQueryError unless it is a whole number from 1."""
    if not _is_count(str(value)) or int(str(value)) < 1:
        raise InvalidQueryError(field, "must be the sequence number of an entry, a whole number from 1")
    return int(str(value))


def parse_limit(value: object, field: str) -> int:
    """Return a number of entries; raises InvalidQueryError unless it is 1 to 200."""
    if not _is_count(str(value)) or not 1 <= int(str(value)) <= MOST_ENTRIES:
        raise InvalidQueryError(field, f"must be a whole number from 1 to {MOST_ENTRIES}")
    return int(str(value))


def parse_symbols(value: object, field: str) -> tuple[str, ...]:
    """Return 1 to 50 stock symbols, each once; raises InvalidQueryError, or InvalidSymbolError that names one."""
    given = str(value).split(",")
    if len(given) > MOST_SYMBOLS:
        raise InvalidQueryError(field, f"must be 1 to {MOST_SYMBOLS} symbols, has {len(given)}")
    return tuple(dict.fromkeys(parse_symbol(symbol, field) for symbol in given))


def parse_time(value: object, field: str) -> int:
    """Return a time in ms since the epoch; raises InvalidQueryError unless it is a whole number."""
    if not _is_count(str(value)):
        raise InvalidQueryError(field, "must be a time in milliseconds since the Unix epoch")
    return int(str(value))


def parse_kind(value: object, field: str) -> str:
    """Return a kind of history; raises InvalidQueryError unless it is `all` or `trades`."""
    return _one_of(KINDS, value, field)


def parse_format(value: object, field: str) -> str:
    """Return a format of history; raises InvalidQueryError unless it is `json` or `csv`."""
    return _one_of(FORMATS, value, field)


def _one_of(choices: tuple[str, ...], value: object, field: str) -> str:
    if value not in choices:
        raise InvalidQueryError(field, f"must be {' or '.join(choices)}")
    return str(value)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
