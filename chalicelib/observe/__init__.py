"""What operators see of commands: log lines, metrics, traces and timings."""
