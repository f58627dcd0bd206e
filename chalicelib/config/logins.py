"""Records that a login was refused, so that the process reads its secrets again where it can."""

from chalicelib import concurrency

refused = concurrency.Event()
"""Set when a login is refused, cleared by `chalicelib.runtime.renew_secrets`."""
