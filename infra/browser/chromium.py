"""The system's Chromium without a window, for what looks at the trader's page: its tests and its screenshots."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from infra.host.binaries import find_chromium

FLAGS = (
    "--headless",
    "--no-sandbox",  # it is shown pages of ours only, and in a container it has no other
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser; raises BinaryMissingError when there is none."""
    program = str(find_chromium())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
