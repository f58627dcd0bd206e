"""Tables in terminals that are narrower than they are."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from loadgen.results.tables import print_whole


@pytest.mark.parametrize("width", [10, 40, 200])
def test_no_digit_of_a_table_is_cut_however_narrow_the_terminal(width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, width=width)
    table = Table()
    for name in ("command", "count", "p50", "p99", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    figures = ["COMMIT_BUY", "1,234,567", "123.456", "4,567.891", "23,456.789"]
    table.add_row(*figures)
    print_whole(console, table)
    (row,) = [line for line in output.getvalue().splitlines() if "COMMIT_BUY" in line]
    assert row.replace("\u2502", " ").split() == figures
    assert console.width == width
