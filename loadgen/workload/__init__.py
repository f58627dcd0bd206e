"""Workload files: reading, writing, generating and selecting commands."""
