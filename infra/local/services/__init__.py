"""The services of the local stack: databases, proxies and the quote server."""
