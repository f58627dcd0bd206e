"""The benchmark: one run on one machine, everything side by side, round after round (docs/performance.md)."""
