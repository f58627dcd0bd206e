"""Counts lines of Python, without blank lines and comments, and compares them with their ceilings.

The ceilings are in CONTRIBUTING.md, one line each: `| chalicelib | 8,000 |`. Docstrings count.
"""

import re
import sys
import tokenize
from pathlib import Path

from infra.local.stack import PROJECT

CEILINGS = PROJECT / "CONTRIBUTING.md"
_NO_CODE = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
)


def lines_of(path: Path) -> int:
    """Return how many lines of a module have code or docstrings."""
    used: set[int] = set()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in _NO_CODE:
                texts = token.string.splitlines() if token.type == tokenize.STRING else [token.string]
                used |= {token.start[0] + place for place, text in enumerate(texts) if text.strip()}
    return len(used)


def size_of(folder: Path) -> int:
    """Return the lines of all modules in a folder, recursively."""
    return sum(lines_of(path) for path in folder.rglob("*.py"))


def ceilings(text: str) -> dict[str, int]:
    """Return each folder's ceiling, from the text of CONTRIBUTING.md."""
    rows = re.findall(r"^\| `?(\w+)`? \| ([\d,]+) \|$", text, re.MULTILINE)
    return {folder: int(most.replace(",", "")) for folder, most in rows}


def main() -> int:
    """Print the size of each folder with a ceiling; return 1 if one exceeds it."""
    above = False
    for folder, most in ceilings(CEILINGS.read_text()).items():
        size = size_of(PROJECT / folder)
        above |= size > most
        note = f"{size - most:,} too many: delete some, or raise the ceiling and say why" if size > most else ""
        print(f"{folder:<12}{size:>8,} of {most:>7,} {note}".rstrip())
    return int(above)


if __name__ == "__main__":
    sys.exit(main())
