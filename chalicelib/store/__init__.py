"""Accounts and their journals in MongoDB: one guarded, atomic, durable write per command."""
