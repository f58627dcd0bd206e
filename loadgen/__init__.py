"""The load generator: replays workload files over HTTP and proves the result."""
