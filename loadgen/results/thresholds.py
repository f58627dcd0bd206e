"""Conditions that fail a run: `p99>50ms`, `errors>0`, `rate<500`, `BUY.p99>=1s`."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadgen.dialects.trading import CODES
from loadgen.results.latencies import Latencies
from loadgen.results.report_files import statistics_of
from loadgen.results.statistics import CommandStatistics, Statistics
from loadgen.workload.commands import COMMANDS


class GateError(ValueError):
    """A text that is not a condition."""


_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_COUNTS = frozenset({"commands", "errors", "retries", "reconnects", "replayed"})
_RATIOS = frozenset({"error_rate", "retry_rate"})
_PLAIN = _COUNTS | _RATIOS | {"rate", "seconds"}
_REASONS = frozenset({"connect", "connection", "timeout", "broken_answer", "other_answer"})
_HTTP = re.compile(r"http_[1-5][0-9]{2}")
_GATE = re.compile(
    r"(?:(?P<command>[A-Z_]+)\.)?(?:(?P<kind>corrected|uncorrected|first_try|late|connect)\.)?"
    r"(?P<figure>p[0-9]{1,2}(?:\.[0-9]{1,3})?|[a-z_]{2,}(?:[0-9]{3})?)"
    r"\s*(?P<operator>>=|<=|==|!=|>|<)\s*(?P<limit>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[a-z%/]*)"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition under which a run fails. Latencies are in milliseconds, ratios parts of 1.

    `kind` says which latency is meant: `corrected`, `uncorrected`, `first_try`, or None for the corrected one of an
    open run and the uncorrected one of a closed run; `late` is how late commands were sent, `connect` how long
    connecting took. `is_part` is whether a count is a percentage of all commands.
    """

    text: str
    figure: str
    operator: str
    limit: float
    command: str | None
    kind: str | None
    is_part: bool = False

    @property
    def counts(self) -> bool:
        """Return whether it counts outcomes of commands and tries."""
        return self.figure in _REASONS | CODES or _HTTP.fullmatch(self.figure) is not None

    @property
    def judges_errors(self) -> bool:
        """Return whether it limits errors."""
        return self.figure in {"errors", "error_rate"}


def parse_gate(text: str) -> Gate:
    """Return the gate in a string. Raises GateError."""
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise GateError(f"{text!r} is not a condition such as 'p99>50ms', 'errors>0' or 'rate<500'")
    figure, unit, limit = match["figure"], match["unit"], float(match["limit"])
    if match["command"] is not None and match["command"] not in COMMANDS:
        raise GateError(f"{text!r}: there is no command {match['command']}")
    if figure in _PLAIN:
        return Gate(text, figure, match["operator"], _plain_limit(text, match, limit), None, None)
    if figure in _REASONS | CODES or _HTTP.fullmatch(figure):
        if match["kind"] is not None or unit not in {"", "%"}:
            raise GateError(f"{text!r}: {figure} is a number of commands, or a part of them in %")
        return Gate(text, figure, match["operator"], limit, match["command"], None, is_part=unit == "%")
    if not re.fullmatch(r"mean|max|p[0-9.]+", figure):
        known = ", ".join(sorted(_PLAIN))
        raise GateError(
            f"{text!r}: there is no figure {figure!r}; there are p50 to p99.999, mean, max, {known}, "
            f"{', '.join(sorted(_REASONS))}, http_NNN and the codes of the interface"
        )
    if match["command"] is not None and match["kind"] in {"late", "connect"}:
        raise GateError(f"{text!r}: {match['kind']} is known only of the whole run")
    if unit not in _MS:
        raise GateError(f"{text!r}: a latency needs a unit: us, ms or s")
    return Gate(text, figure, match["operator"], limit * _MS[unit], match["command"], match["kind"])


def _plain_limit(text: str, match: "re.Match[str]", limit: float) -> float:
    figure, unit = match["figure"], match["unit"]
    if match["command"] is not None or match["kind"] is not None:
        raise GateError(f"{text!r}: {figure} is known only of the whole run")
    if unit == "%" and figure in _RATIOS:
        return limit / 100
    if unit and not (unit == "s" and figure == "seconds") and not (unit == "/s" and figure == "rate"):
        raise GateError(f"{text!r}: {figure} has no unit {unit!r}")
    return limit


def judge(report: Mapping[str, Any], gates: Sequence[Gate]) -> list[dict[str, Any]]:
    """Return for each gate whether it failed, and the measured value.

    A figure that the run does not have, such as a percentile without answers, fails its gate.
    """
    statistics = statistics_of(report)
    results = []
    for gate in gates:
        found = _find(report, statistics, gate)
        failed = found is None or _OPERATORS[gate.operator](found, gate.limit)
        results.append({"gate": gate.text, "failed": failed, "found": found, "said": _say(gate, found)})
    return results


def _find(report: Mapping[str, Any], statistics: Statistics, gate: Gate) -> float | None:
    if gate.figure in _RATIOS:
        part = report["errors" if gate.figure == "error_rate" else "retries"]
        return part / report["commands"] if report["commands"] else None
    if gate.figure in _PLAIN:
        return float(report[gate.figure])
    if gate.counts:
        return _count(report, gate)
    latencies = _latencies(report, statistics, gate)
    if latencies is None or not latencies.count:
        return None
    if gate.figure in {"mean", "max"}:
        return latencies.summary_ms()[gate.figure]
    return latencies.percentile_ms(float(gate.figure[1:]))


def _count(report: Mapping[str, Any], gate: Gate) -> float | None:
    """Return how many commands, and retried tries, ended that way."""
    scope = report if gate.command is None else report["by_command"].get(gate.command)
    if scope is None:
        return 0.0
    found = sum(
        count
        for outcome, count in scope["outcomes"].items()
        if gate.figure in {outcome.partition(" ")[2], f"http_{outcome.partition(' ')[0]}"}
    )
    if gate.command is None:
        found += report["retry_reasons"].get(gate.figure, 0)
    if not gate.is_part:
        return float(found)
    return 100 * found / scope["commands"] if scope["commands"] else None


def _latencies(report: Mapping[str, Any], statistics: Statistics, gate: Gate) -> Latencies | None:
    kind = gate.kind or ("corrected" if report["run"]["model"] == "open" else "uncorrected")
    if gate.kind == "connect":
        return statistics.connect
    if gate.kind == "late":
        return None if statistics.lateness is None else statistics.lateness.delays
    if gate.command is None:
        return dict(zip(("uncorrected", "first_try", "corrected"), statistics.every(), strict=True))[kind]
    command = statistics.commands.get(gate.command, CommandStatistics())
    if kind == "uncorrected":
        return command.all_tries()
    return command.first_try if kind == "first_try" else command.corrected


def _say(gate: Gate, found: float | None) -> str:
    if found is None:
        return f"{gate.text}: the run has no such figure"
    if gate.figure in _RATIOS:
        return f"{gate.text}: {gate.figure} is {100 * found:.4g} %"
    name = ".".join(part for part in (gate.command, gate.kind, gate.figure) if part)
    unit = " %" if gate.is_part else "" if gate.figure in _PLAIN or gate.counts else " ms"
    return f"{gate.text}: {name} is {found:,.10g}{unit}"
