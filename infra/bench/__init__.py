"""The benchmark: one run on one machine, everything side by side, in rounds (docs/performance.md)."""
