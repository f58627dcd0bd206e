"""Shared by command lines: examples in each help, and numbers with their bounds."""

import argparse
import math
import textwrap
from collections.abc import Callable
from pathlib import Path

_WIDTH = 96


def add_examples(parser: argparse.ArgumentParser, *examples: str) -> None:
    """Append examples to a parser's help. Separate lines of the description stay separate."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    description = (parser.description or "").strip()
    parser.description = description if "\n" in description else textwrap.fill(description, _WIDTH)
    said = f"{parser.epilog}\n\n" if parser.epilog else ""
    parser.epilog = f"{said}example:\n" + "\n".join(f"  {example}" for example in examples)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return an argument type: a whole number from `least` to `most`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            up_to = "or more" if most is None else f"to {most}"
            raise argparse.ArgumentTypeError(f"takes a whole number, {least} {up_to}, not {text!r}")
        return value

    return number


def decimal(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Return an argument type: a number from `least` to `most` of a unit."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # also if it is NaN
            raise argparse.ArgumentTypeError(f"takes {unit} from {least:g} to {most:g}, not {text!r}")
        return value

    return number


def folder_name(text: str) -> Path:
    """Parse a folder. An empty name, as of a variable that is not set, is refused: it would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("takes the name of a folder, not ''")
    return Path(text)


port = whole(1, 65_535)
positive = whole(1)
