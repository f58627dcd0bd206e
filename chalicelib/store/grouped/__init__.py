"""Writes that wait at the same time, sent together: for servers with many requests at once (GROUP_COMMIT above 1)."""
