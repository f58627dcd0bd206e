"""An answer as text."""

import json

import pytest

from loadgen.client.retry import Outcome
from loadgen.results.answer_text import as_text


@pytest.mark.parametrize("time", [10**18, -(10**18)])
def test_a_quote_servers_time_that_no_calendar_has_is_shown_as_a_number(time: int) -> None:
    body = json.dumps({"timestamp": time}).encode()
    outcome = Outcome(True, 200, "ok", body, 1, (), 0, False, 0, 0, 0)
    assert list(as_text("QUOTE,a,ABC", outcome, "k"))[1:] == [f"  timestamp: {time}"]
