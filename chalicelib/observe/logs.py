"""The log: one JSON object per line, for each command and for everything else worth logging.

In Lambda a command's line is also in CloudWatch's embedded metric format, from which CloudWatch makes metrics.
"""

import json
import logging
import sys
import traceback
from typing import Any, TextIO

from chalicelib.clock import Clock, now_ms
from chalicelib.observe.commands import SeenCommand
from chalicelib.observe.instruments import TraceId

NAMESPACE = "DayTrading"
_FUNCTION = "FunctionName"
"""The dimension that separates the deployments of one AWS account."""


def _metrics(dimensions: list[str], unit: str, *names: str) -> dict[str, Any]:
    metrics = [{"Name": name, "Unit": unit} for name in names]
    return {"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics}


# Each combination of dimensions is billed as a metric, so outcomes are only counted.
_METRICS = [
    _metrics([_FUNCTION, "command", "outcome"], "Count", "commands"),
    _metrics([_FUNCTION, "command"], "Milliseconds", "ms"),
    _metrics([_FUNCTION], "Milliseconds", "load_ms", "quote_ms", "save_ms"),
]
_quoted = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, with its exception and the id of its trace, if any."""

    def __init__(self, trace_id: TraceId | None = None) -> None:
        super().__init__()
        self._trace_id = trace_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": int(record.created * 1000),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "trace_id": None if self._trace_id is None else self._trace_id(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _encode(line)


def set_up_logs(level: str, stream: TextIO = sys.stdout, trace_id: TraceId | None = None) -> None:
    """Log from this level on, as JSON: to the existing handlers (Lambda has its own), else to `stream`."""
    root = logging.getLogger()
    root.setLevel(level)
    if not root.handlers:
        root.addHandler(logging.StreamHandler(stream))
    for handler in root.handlers:
        handler.setFormatter(JsonFormatter(trace_id))


class CommandLog:
    """Logs each command; with `function`, the name of a Lambda function, also as a metric."""

    def __init__(
        self,
        stream: TextIO,
        function: str | None = None,
        clock: Clock = now_ms,
        trace_id: TraceId | None = None,
    ) -> None:
        self._stream = stream
        self._trace_id = trace_id
        name = "" if function is None else _quoted(function)
        # The timestamp is appended: the constant part of the line is encoded once.
        directive = f'"_aws":{{"CloudWatchMetrics":{_encode(_METRICS)},"Timestamp":'
        self._metrics = "" if function is None else f',"{_FUNCTION}":{name},"commands":1,{directive}'
        self._clock = clock

    def __call__(self, seen: SeenCommand) -> None:
        """Write a line, in one write, so that lines of several threads do not mix."""
        now = self._clock()
        user = "null" if seen.user is None else _quoted(seen.user)
        operator = "" if seen.operator is None else f',"operator":{_quoted(seen.operator)}'
        quoted = "null" if seen.quoted is None else f'"{seen.quoted.value}"'
        transaction = "null" if seen.transaction is None else seen.transaction
        trace = None if self._trace_id is None else self._trace_id()
        traced = "null" if trace is None else f'"{trace}"'
        # Formatted by hand, because every command pays for it: a third of the time of encoding a mapping.
        self._stream.write(
            f'{{"time":{now},"level":"INFO","request_id":{_quoted(seen.request_id)},"user":{user}{operator}'
            f',"command":"{seen.command}","transaction":{transaction},"outcome":"{seen.outcome}"'
            f',"replayed":{"true" if seen.replayed else "false"},"ms":{seen.seconds * 1000:.3f}'
            f',"load_ms":{seen.load_seconds * 1000:.3f},"quote_ms":{seen.quote_seconds * 1000:.3f}'
            f',"save_ms":{seen.save_seconds * 1000:.3f},"quoted":{quoted}'
            f',"trace_id":{traced}{self._embedded(now)}}}\n'
        )
        self._stream.flush()

    def _embedded(self, now: int) -> str:
        if not self._metrics:
            return ""
        return f"{self._metrics}{now}}}"
