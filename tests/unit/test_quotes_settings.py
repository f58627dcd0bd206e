"""Every bound on a quote is a setting, checked, and reaches its place."""

import pytest

from chalicelib.config.settings import SettingError, read_settings
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from tests.unit.test_settings import GOOD


def test_the_defaults_are_30_ms_a_try_and_5_s_in_all() -> None:
    retries = QuoteRetryPolicy.of(read_settings(GOOD))
    assert (retries.try_ms, retries.limit_ms) == (30, 5_000)
    assert retries == QuoteRetryPolicy()


def test_each_setting_reaches_its_place() -> None:
    names = ("TRY", "LIMIT", "FIRST_PAUSE", "LONGEST_PAUSE", "LOCK_SPARE", "POLL")
    environment = {f"QUOTE_{name}_MS": str(100 + number) for number, name in enumerate(names)}
    assert QuoteRetryPolicy.of(read_settings({**GOOD, **environment})) == QuoteRetryPolicy(100, 101, 102, 103, 104, 105)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("QUOTE_TRY_MS", 10, 30_000),
        ("QUOTE_LIMIT_MS", 100, 60_000),
        ("QUOTE_FIRST_PAUSE_MS", 1, 10_000),
        ("QUOTE_LONGEST_PAUSE_MS", 1, 10_000),
        ("QUOTE_LOCK_SPARE_MS", 50, 10_000),
        ("QUOTE_POLL_MS", 5, 1_000),
        ("QUOTE_CACHE_PAUSE_MS", 10, 60_000),
    ],
)
def test_a_time_out_of_its_bounds_is_refused(name: str, low: int, high: int) -> None:
    for good in (low, high):
        assert getattr(read_settings({**GOOD, name: str(good)}), name.lower()) == good
    for bad in (low - 1, high + 1):
        with pytest.raises(SettingError, match=f"^setting {name}: got '{bad}'"):
            read_settings({**GOOD, name: str(bad)})


def test_keys_in_redis_begin_with_the_database_unless_a_setting_says_otherwise() -> None:
    assert read_settings(GOOD).redis_namespace == "day_trading"
    assert read_settings({**GOOD, "MONGO_DATABASE": "shop"}).redis_namespace == "shop"
    assert read_settings({**GOOD, "MONGO_DATABASE": "shop", "REDIS_NAMESPACE": "one"}).redis_namespace == "one"


@pytest.mark.parametrize("value", ["", " ", "a b", "a\n", "n" * 129])
def test_a_namespace_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SettingError, match=r"^setting REDIS_NAMESPACE: got "):
        read_settings({**GOOD, "REDIS_NAMESPACE": value})


@pytest.mark.parametrize(("value", "good"), [("0", False), ("1", True), ("10000", True), ("10001", False)])
def test_open_questions_have_a_bound(value: str, *, good: bool) -> None:
    environment = {**GOOD, "QUOTE_OPEN_QUESTIONS": value}
    if good:
        assert read_settings(environment).quote_open_questions == int(value)
    else:
        with pytest.raises(SettingError, match=r"^setting QUOTE_OPEN_QUESTIONS: got "):
            read_settings(environment)
