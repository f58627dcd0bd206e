"""Verifies a run: every answer, account and audit log entry against an independent model."""
