"""The metrics: what each observation counts, and how well a quantile can be read from the buckets."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chalicelib.observe.commands import Observers, QuotedFrom, SeenCommand
from chalicelib.sweep.report import Report
from infra.servers.counters import Counters, GatewayCounters, SweepCounters

SEEN = SeenCommand("r-1", "jane", "BUY", 17, "ok", False, 0.01, 0.001, 0.002, 0.003, QuotedFrom.CACHE)


class Told:
    """Counters, and what they say."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counters = Counters(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def quantile(self, share: float) -> float:
        """Return a quantile of BUY as Prometheus' histogram_quantile works it out: linear within its bucket."""
        metrics = {metric.name: metric for metric in self.registry.collect()}
        samples = metrics["trading_command_seconds"].samples
        buckets = [(float(one.labels["le"]), one.value) for one in samples if one.name.endswith("_bucket")]
        rank = share * buckets[-1][1]
        lower = before = 0.0
        for upper, count in buckets:
            if count >= rank:
                return lower + (upper - lower) * (rank - before) / (count - before)
            lower, before = upper, count
        raise AssertionError("no bucket has it")


def observed(seconds: Sequence[float]) -> Told:
    told = Told()
    for one in seconds:
        told.counters(SEEN._replace(seconds=one))
    return told


@pytest.mark.parametrize("middle", [0.0015, 0.004, 0.03, 0.2, 1.7])
@pytest.mark.parametrize("spread", [0.05, 0.5, 1.0])
def test_p99_can_be_read_to_10_percent(middle: float, spread: float) -> None:
    draw = random.Random(7)
    seconds = sorted(min(9.9, max(0.0011, draw.lognormvariate(math.log(middle), spread))) for _ in range(4_000))
    exact = seconds[math.ceil(0.99 * len(seconds)) - 1]
    assert observed(seconds).quantile(0.99) == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("seconds", [0.001, 0.0010001, 0.0011, 0.00499, 0.05, 0.999, 9.99])
def test_even_when_all_took_the_same_time_a_quantile_is_right_to_10_percent(seconds: float) -> None:
    assert observed([seconds] * 100).quantile(0.99) == pytest.approx(seconds, rel=0.1)


def test_a_command_counts_where_its_account_was_its_lost_races_and_how_late_it_was_begun() -> None:
    told = Told()
    told.counters(SEEN._replace(kept=True, lost_races=2, late_seconds=0.3))
    told.counters(SEEN._replace(kept=False, late_seconds=0.0))
    told.counters(SEEN)
    assert told.value("trading_account_reads_total") == 1
    assert told.value("trading_lost_races_total") == 2
    assert told.value("trading_arrival_delay_seconds_count") == 1
    assert told.value("trading_arrival_delay_seconds_bucket", le="0.25") == 0
    assert told.value("trading_arrival_delay_seconds_bucket", le="0.5") == 1


def test_groups_are_counted_by_their_size() -> None:
    told, observers = Told(), Observers()
    observers.group_sent("update", 3)  # nobody is told
    observers.add_for_groups(told.counters.group_sent)
    observers.group_sent("update", 17)
    observers.group_sent("find", 1)
    assert told.value("trading_group_size_sum", operation="update") == 17
    assert told.value("trading_group_size_bucket", operation="update", le="16.0") == 0
    assert told.value("trading_group_size_bucket", operation="update", le="32.0") == 1
    assert told.value("trading_group_size_count", operation="find") == 1


def test_a_gateway_tells_of_its_connections_and_of_the_times_its_loop_stood_still() -> None:
    registry = CollectorRegistry()
    counters = GatewayCounters(registry)
    counters.connected(idle=3, active=2)
    counters.connected(idle=4, active=1)
    counters.stood_still(0.07)
    value: Any = registry.get_sample_value
    assert value("gateway_connections", {"state": "idle"}) == 4
    assert value("gateway_connections", {"state": "active"}) == 1
    assert value("gateway_loop_stall_seconds_count") == 1
    assert value("gateway_loop_stall_seconds_sum") == 0.07


def test_only_a_sweep_that_did_not_fail_moves_the_time_of_the_last_one() -> None:
    registry = CollectorRegistry()
    counters = SweepCounters(registry)
    name = "trading_sweep_last_success_timestamp_seconds"
    counters(None)
    assert registry.get_sample_value(name) == 0
    counters(Report())
    assert (registry.get_sample_value(name) or 0) > 1_700_000_000
