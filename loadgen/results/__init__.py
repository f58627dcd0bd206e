"""Results of a run: statistics, reports, charts, comparisons, thresholds."""
