"""The settings, and the secrets they may stand in."""
