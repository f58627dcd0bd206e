"""The lines of the log."""

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.observe.commands import Observers, QuotedFrom, SeenCommand
from chalicelib.observe.logs import CommandLog, JsonFormatter, set_up_logs
from chalicelib.observe.timing import CommandTimer

SEEN = SeenCommand(
    request_id="r-1",
    user="jane",
    command="BUY",
    transaction=17,
    outcome="insufficient_funds",
    replayed=False,
    seconds=0.0123456,
    load_seconds=0.001,
    quote_seconds=0.0,
    save_seconds=0.0100004,
    quoted=QuotedFrom.CACHE,
)


def line_of(function: str | None = None, seen: SeenCommand = SEEN) -> Any:
    stream = io.StringIO()
    CommandLog(stream, function, clock=lambda: 1_700_000_000_000)(seen)
    assert stream.getvalue().endswith("}\n")
    assert stream.getvalue().count("\n") == 1
    return json.loads(stream.getvalue())


def test_a_command_is_one_line_with_its_outcome_and_where_the_time_went() -> None:
    assert line_of() == {
        "time": 1_700_000_000_000,
        "level": "INFO",
        "request_id": "r-1",
        "user": "jane",
        "command": "BUY",
        "transaction": 17,
        "outcome": "insufficient_funds",
        "replayed": False,
        "ms": 12.346,
        "load_ms": 1.0,
        "quote_ms": 0.0,
        "save_ms": 10.0,
        "quoted": "cache",
        "trace_id": None,
    }


def test_every_line_names_its_trace_where_there_are_traces() -> None:
    stream = io.StringIO()
    CommandLog(stream, trace_id=lambda: "0af7651916cd43dd8448eb211c80319c")(SEEN)
    assert json.loads(stream.getvalue())["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    record = logging.LogRecord("a.b", logging.INFO, "f.py", 1, "said", (), None)
    assert json.loads(JsonFormatter(lambda: "0af7").format(record))["trace_id"] == "0af7"
    assert json.loads(JsonFormatter().format(record))["trace_id"] is None


def test_a_command_without_a_quote_says_so() -> None:
    assert line_of(seen=SEEN._replace(quoted=None))["quoted"] is None


def test_the_operator_who_acted_for_a_user_is_named() -> None:
    line = line_of(seen=SEEN._replace(operator="ops"))
    assert (line["user"], line["operator"]) == ("jane", "ops")


def test_what_a_client_sent_cannot_begin_a_line_of_its_own() -> None:
    assert line_of(seen=SEEN._replace(request_id='x"}\n{"command":"ADD'))["command"] == "BUY"


def test_in_the_cloud_the_line_is_a_metric_too() -> None:
    """The embedded metric format: each metric and dimension that is announced must be a member of the line."""
    line = line_of("day-trading-prod")
    assert line["_aws"]["Timestamp"] == line["time"]
    announced = line["_aws"]["CloudWatchMetrics"]
    named = {metric["Name"] for directive in announced for metric in directive["Metrics"]}
    assert named == {"commands", "ms", "load_ms", "quote_ms", "save_ms"}
    for directive in announced:
        assert directive["Namespace"] == "DayTrading"
        for name in [*(metric["Name"] for metric in directive["Metrics"]), *directive["Dimensions"][0]]:
            assert name in line
    assert not any("user" in dimensions for directive in announced for dimensions in directive["Dimensions"])


def test_an_exception_is_in_the_line_of_its_record() -> None:
    failure = (ValueError, ValueError("two\nlines"), None)
    record = logging.LogRecord("a.b", logging.ERROR, "f.py", 1, "it %s", ("failed",), failure)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "a.b", "it failed")
    assert "ValueError: two\nlines" in line["exception"]


@pytest.mark.parametrize(("level", "lines"), [("INFO", 2), ("WARNING", 1), ("ERROR", 0)])
def test_the_level_is_a_setting(level: str, lines: int) -> None:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    stream = io.StringIO()
    root.handlers = []
    try:
        set_up_logs(level, stream)
        logging.getLogger("any").info("one")
        logging.getLogger("any").warning("two")
    finally:
        root.handlers = handlers
        root.setLevel(before)
    assert len(stream.getvalue().splitlines()) == lines
    assert all(json.loads(line)["logger"] == "any" for line in stream.getvalue().splitlines())


def test_the_handlers_that_lambda_brings_are_kept() -> None:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers[:]
    stream = io.StringIO()
    root.handlers = [logging.StreamHandler(stream)]
    try:
        set_up_logs("INFO", io.StringIO())
        logging.getLogger("any").info("one")
    finally:
        root.handlers = handlers
        root.setLevel(before)
    assert json.loads(stream.getvalue())["message"] == "one"


class _Writes(io.StringIO):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_lines_of_many_threads_are_whole_and_none_is_lost() -> None:
    stream = _Writes()
    log = CommandLog(stream)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _say_often(log, number), range(8)))
    transactions = [json.loads(line)["transaction"] for text in stream.writes for line in text.splitlines()]
    assert sorted(transactions) == list(range(8 * 500))


def _say_often(log: CommandLog, number: int) -> None:
    for place in range(500):
        log(SEEN._replace(transaction=number * 500 + place))


def test_all_observers_are_told() -> None:
    first: list[SeenCommand] = []
    second: list[SeenCommand] = []
    observers = Observers(first.append)
    observers.add(second.append)
    observers(SEEN)
    assert first == second == [SEEN]


def test_a_stage_adds_up_what_was_spent_in_it_also_in_vain() -> None:
    timer = CommandTimer()
    assert (timer.load.seconds, timer.quote.seconds, timer.save.seconds, timer.quoted) == (0.0, 0.0, 0.0, None)
    with timer.load:
        pass
    once = timer.load.seconds
    with pytest.raises(KeyError), timer.load:
        raise KeyError
    assert timer.load.seconds > once > 0.0
    assert (timer.quote.seconds, timer.save.seconds) == (0.0, 0.0)
