"""Migrates the data of older builds: see `docs/operations.md`, upgrade and rollback."""
