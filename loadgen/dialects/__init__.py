"""What a workload's lines mean over HTTP: how each becomes a request, and what its response is worth."""
