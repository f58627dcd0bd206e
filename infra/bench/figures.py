"""A section's measurements: named values, one per round, and their spread."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MORE, LESS = "more", "less"
"""Which direction is better; None for a figure that is neither good nor bad."""

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of one round. `key` is unique within its section, `label` describes it."""

    key: str
    label: str
    value: float
    unit: str
    better: str | None = None


def add_round(figures: Figures, found: Sequence[Measured]) -> None:
    """Add the values of a round to the figures of a section."""
    for one in found:
        figure = figures.setdefault(one.key, {"label": one.label, "unit": one.unit, "better": one.better, "rounds": []})
        figure["rounds"].append(_rounded(one.value))
        rounds = figure["rounds"]
        figure |= {"min": min(rounds), "median": _rounded(statistics.median(rounds)), "max": max(rounds)}


def _rounded(value: float) -> float:
    """Return a value with more digits than any measurement here has."""
    return float(f"{value:.6g}")
