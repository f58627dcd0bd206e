"""Errors of one try; they never leave this package.

FailedTryError          the try brought no quote: refused, reset, too slow
└── BadAnswerError      the source answered, but not with a quote
"""


class FailedTryError(Exception):
    """One try at the source brought no quote; another may."""


class BadAnswerError(FailedTryError):
    """The source's answer is not a usable quote. The message says what is wrong with it and never repeats it."""
