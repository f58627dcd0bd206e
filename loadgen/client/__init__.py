"""Commands over HTTP: one connection, requests as bytes, retries."""
