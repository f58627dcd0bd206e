"""Tables that keep all digits, however narrow the terminal: a truncated number would be wrong."""

from rich.console import Console
from rich.table import Table

_WIDEST = 1_000


def print_whole(console: Console, table: Table) -> None:
    """Print a table at its full width; a narrower terminal wraps its lines and cuts nothing."""
    usual = console.width
    needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    console.width = max(usual, needed)
    try:
        console.print(table)
    finally:
        console.width = usual
