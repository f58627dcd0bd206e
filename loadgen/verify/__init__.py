"""The proof of a run: every answer, account and audit log line against an independent model."""
