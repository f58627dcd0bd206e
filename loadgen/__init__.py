"""The load generator: replays workload files over HTTP and proves the result."""

__version__ = "1.0.0"
