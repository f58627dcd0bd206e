"""The load generator: replays workload files over HTTP and verifies the results."""

__version__ = "1.0.0"
