"""What can become of a write (drawn as a tree).

StoreError
├── LostRaceError       another write came first: nothing was changed; load and decide again
└── UnknownOutcomeError the database did not answer: the write may or may not have been applied
"""


class StoreError(Exception):
    """A write that did not simply succeed."""


class LostRaceError(StoreError):
    """The account has another version by now."""


class UnknownOutcomeError(StoreError):
    """Whether the write was applied is to be found out by loading the account."""
