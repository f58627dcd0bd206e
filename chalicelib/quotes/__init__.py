"""Quotes: the Redis cache and the sources behind it."""
