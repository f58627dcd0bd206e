"""Quotes: the sources, and the caches in front of them."""
