"""What can become of a write.

StoreError
├── LostRaceError       another write came first: nothing was changed; load and decide again
└── UnknownOutcomeError the database did not answer: the write may or may not have been applied
"""


class StoreError(Exception):
    """A write that was not confirmed."""


class LostRaceError(StoreError):
    """The account has changed since it was read."""


class UnknownOutcomeError(StoreError):
    """The write may have been applied: load the account to find out."""
