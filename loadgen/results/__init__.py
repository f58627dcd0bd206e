"""What a run measured: statistics, reports, charts, comparisons, thresholds."""
