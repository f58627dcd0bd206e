"""Workload files: read, written, generated, and what of them is sent."""
