"""How workload lines become HTTP requests, and what the responses mean."""
