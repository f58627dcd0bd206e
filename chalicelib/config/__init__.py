"""The settings, and the secrets they may come from."""
