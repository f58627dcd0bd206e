"""Prices without a server: one for all, or simulated, a pure function of seed, symbol and minute."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from chalicelib.config.settings import SettingError
from chalicelib.quotes.legacy import LegacySource
from chalicelib.quotes.sources import FixedSource, SimulatedSource, make_source

MINUTE_MS = 60_000
NOW = 28_333_333 * MINUTE_MS


def test_the_fixed_source_has_one_price_for_all() -> None:
    source = make_source("fixed:10.00", lambda: NOW)
    quotes = [source.ask(symbol, "jane", 1.0) for symbol in ("A", "ZZZ")]
    assert [(quote.symbol, quote.price_cents, quote.timestamp_ms) for quote in quotes] == [
        ("A", 1000, NOW),
        ("ZZZ", 1000, NOW),
    ]


def test_a_simulated_price_holds_for_its_minute_and_is_the_same_whoever_asks() -> None:
    first, last = SimulatedSource("7", lambda: NOW), SimulatedSource("7", lambda: NOW + MINUTE_MS - 1)
    assert first.ask("ABC", "jane", 1.0).price_cents == last.ask("ABC", "john", 1.0).price_cents


def test_another_process_simulates_the_same_price() -> None:
    """Nothing of it may depend on the process, such as the seed of its hashes."""
    program = (
        "from chalicelib.quotes.sources import SimulatedSource;"
        f"print(SimulatedSource('7', lambda: {NOW}).ask('ABC', 'jane', 1.0).price_cents)"
    )
    root = Path(__file__).parents[2]
    printed = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert int(printed.stdout) == SimulatedSource("7", lambda: NOW).ask("ABC", "jane", 1.0).price_cents


def test_simulated_prices_move_from_minute_to_minute_by_little() -> None:
    source = SimulatedSource("7", lambda: NOW)
    prices = [source.price_cents("ABC", NOW + minute * MINUTE_MS) for minute in range(24 * 60)]
    assert len(set(prices)) > 100
    assert all(abs(after - before) / before < 0.01 for before, after in pairwise(prices))
    assert min(prices) > 0


def test_simulated_prices_are_the_same_in_every_version() -> None:
    """A log that was written with an older one can be checked by a newer one."""
    source = SimulatedSource("1", lambda: NOW)
    minutes = (0, 1, 7, 100, 10_000)
    assert [source.price_cents("ABC", NOW + minute * MINUTE_MS) for minute in minutes] == [
        53247,
        53257,
        53289,
        53618,
        45605,
    ]


def test_seeds_and_symbols_have_prices_of_their_own() -> None:
    prices = {SimulatedSource(seed, lambda: NOW).price_cents(symbol, NOW) for seed in "12" for symbol in ("A", "B")}
    assert len(prices) == 4


def test_the_setting_names_the_source() -> None:
    kinds = [make_source(text, lambda: NOW) for text in ("fixed:1", "simulated:x", "tcp://127.0.0.1:4444")]
    assert [type(source) for source in kinds] == [FixedSource, SimulatedSource, LegacySource]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fixed:0", "fixed:PRICE ("),
        ("tcp://nowhere", "tcp://HOST:PORT (needs a host"),
        ("10.00", "fixed:PRICE, simulated:"),
    ],
)
def test_a_source_of_which_one_thing_is_wrong_is_told_what(text: str, says: str) -> None:
    with pytest.raises(SettingError, match=re.escape(says)):
        make_source(text, lambda: NOW)


@pytest.mark.parametrize("text", ["fixed:", "fixed:0", "simulated:", "tcp://nowhere", "udp://host:1", "10.00"])
def test_a_source_that_cannot_be_used_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingError, match=r"^setting QUOTE_SOURCE: got "):
        make_source(text, lambda: NOW)
