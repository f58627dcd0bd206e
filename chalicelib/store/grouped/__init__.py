"""Group commit: concurrent writes are sent together, for servers with many requests at once (GROUP_COMMIT above 1)."""
