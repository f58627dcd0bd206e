"""That a login was refused: noted where it is met, looked at where this process could read its secrets once more."""

from chalicelib import concurrency

refused = concurrency.Event()
"""Set by whoever meets a refusal, cleared by `chalicelib.runtime.renewed`."""
