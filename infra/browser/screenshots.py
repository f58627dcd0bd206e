"""Screenshots of the trader's page, for the documentation: a day on a stack of its own, seen as people see it.

    python -m infra.browser.screenshots [--out docs/images] [--minutes 4]

Prices of the simulated source change by the minute, so a chart of those seen takes some.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from infra.browser.chromium import chromium
from infra.host.arguments import add_examples, positive
from infra.host.binaries import BinaryMissingError
from infra.host.folders import FolderError, make_folder
from infra.local.background import BackgroundStack, running_stack
from infra.local.stack import PROJECT
from infra.tokens import page_link

_SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")
_SYMBOLS = ("ABC", "IBM", "XYZ")
_MINUTE_MS = 60_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class View:
    """A window of a width and height, in one of the two schemes."""

    width: int
    height: int
    scheme: Literal["light", "dark"]


WIDE = View(1600, 1000, "light")
WIDE_DARK = View(1600, 1000, "dark")
NARROW = View(360, 780, "light")


def shoot(stack: BackgroundStack, browser: Browser, folder: Path, minutes: int, say: Say) -> list[Path]:
    """Trade for some minutes, take the pictures and return where they are."""
    context = browser.new_context(viewport={"width": WIDE.width, "height": WIDE.height})
    page = context.new_page()
    page.goto(page_link(stack.url, stack.trader_token("jane")))
    _trade(page)
    for minute in range(minutes):
        say(f"{minutes - minute} min to go: prices change by the minute")
        page.wait_for_timeout(_MINUTE_MS)
        for symbol in _SYMBOLS:
            _quote(page, symbol)
    _leave_something_pending(page)
    taken = [
        _picture(page, WIDE, folder / "account.png"),
        _picture(page, WIDE_DARK, folder / "account-dark.png"),
        _picture(page, NARROW, folder / "account-narrow.png"),
    ]
    context.close()
    say("a replay, to have something to see of the system")
    context = browser.new_context(viewport={"width": WIDE.width, "height": WIDE.height})
    page = context.new_page()
    page.goto(page_link(stack.url, stack.operator_token))
    with tempfile.TemporaryDirectory() as workload, _replay(stack, Path(workload)):
        page.locator(".gauge").first.wait_for()
        page.wait_for_timeout(25_000)
        taken.append(_picture(page, View(1600, 860, "dark"), folder / "system.png"))
    context.close()
    return taken


def _trade(page: Page) -> None:
    cash = page.get_by_role("region", name="Add cash")
    cash.get_by_label("Amount to add").fill("25000")
    cash.get_by_role("button", name="Add cash").click()
    page.get_by_text("Added $25,000.00").wait_for()
    for symbol, amount in zip(_SYMBOLS, ("5200", "3600", "4400"), strict=True):
        _order(page, symbol, amount)
        page.get_by_role("button", name="Commit the buy").click()
        page.get_by_text(f"of {symbol} for").first.wait_for()
    triggers = page.get_by_role("region", name="Triggers")
    held = page.get_by_role("region", name="Holdings")
    for side, symbol, amount, share in (("Buy low", "XYZ", "1500", 90), ("Sell high", "IBM", "1200", 115)):
        price = held.get_by_role("row", name=symbol).get_by_role("cell").nth(1).locator(".money").inner_text()
        cents = int(price.strip("$").replace(",", "").replace(".", "")) * share // 100
        triggers.get_by_text(side).click()
        triggers.get_by_label("Symbol").fill(symbol)
        triggers.get_by_label("For amount").fill(amount)
        triggers.get_by_label("When price").fill(f"{cents // 100}.{cents % 100:02}")
        triggers.get_by_role("button", name="Set trigger").click()
        triggers.get_by_text(f"Set: {side.partition(' ')[0].lower()} {symbol}").wait_for()


def _order(page: Page, symbol: str, amount: str) -> None:
    """Send a buy; a second time when its quote was too old the first time."""
    ticket = page.get_by_role("region", name="Trade")
    _quote(page, symbol)
    ticket.get_by_label("Amount").fill(amount)
    button = ticket.get_by_role("button", name=f"Buy {symbol}")
    pending = page.get_by_text(f"of {symbol} at").first
    new = page.get_by_text("The price has changed.")
    button.click()
    pending.or_(new).first.wait_for()
    if new.is_visible():
        button.click()
    pending.wait_for()


def _quote(page: Page, symbol: str) -> None:
    ticket = page.get_by_role("region", name="Trade")
    ticket.get_by_label("Symbol").fill(symbol)
    ticket.get_by_role("button", name="Get quote").click()
    ticket.get_by_text(f"{symbol} is at").wait_for(state="attached")


def _leave_something_pending(page: Page) -> None:
    _order(page, "IBM", "900")
    _order(page, "ABC", "1100")
    page.get_by_role("region", name="Trade").get_by_label("Amount").fill("1800")


def _picture(page: Page, view: View, path: Path) -> Path:
    page.set_viewport_size({"width": view.width, "height": view.height})
    page.emulate_media(color_scheme=view.scheme)
    page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    page.wait_for_timeout(300)  # the bars of the orders move for a quarter of a second
    page.screenshot(path=path)
    return path


class _replay:  # noqa: N801 - used as a function
    """Have a workload replayed meanwhile."""

    def __init__(self, stack: BackgroundStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder

    def __enter__(self) -> None:
        workload = str(self._folder / "workload.txt")
        loadgen = [sys.executable, "-m", "loadgen"]
        size = ["--users", "40", "--commands", "200000", "--symbols", "40", "--seed", "3"]
        subprocess.run([*loadgen, "generate", *size, "--out", workload], cwd=PROJECT, check=True, capture_output=True)
        replay = [*loadgen, "replay", workload, "--url", self._stack.url, "--token", self._stack.operator_token]
        self._process = subprocess.Popen(
            replay, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.browser.screenshots", description="Screenshots of the page.")
    add_examples(parser, "python -m infra.browser.screenshots --out /tmp/pictures")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "images", metavar="DIR", help="(%(default)s)")
    parser.add_argument("--minutes", type=positive, default=4, help="of prices in the chart (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        make_folder(options.out)
        with (
            tempfile.TemporaryDirectory() as data,
            chromium() as browser,
            running_stack(Path(data), *_SMALL, "--quote-source", "simulated:1") as stack,
        ):
            for path in shoot(stack, browser, options.out, options.minutes, print):
                print(f"{path}  {path.stat().st_size // 1000} KB")
    except (BinaryMissingError, FolderError) as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
