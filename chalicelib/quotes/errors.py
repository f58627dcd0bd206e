"""What can go wrong with one try; it never leaves this package.

FailedTryError          one try brought no quote: refused, reset, too slow
└── BadAnswerError      the source answered, and the answer is not a quote
"""


class FailedTryError(Exception):
    """One try at the source brought no quote; another one may."""


class BadAnswerError(FailedTryError):
    """What the source answered is not a quote that can be used. Says what is wrong with it and never repeats it."""
