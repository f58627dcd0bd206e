"""Visits to the page: each has its own browser context, and records what happens in it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, Request, expect

from infra.local.background import BackgroundStack

SECONDS = 20.0
STOP_SECONDS = 3.0
"""How far ahead the page's clock is stopped: longer than the call takes, even on a busy machine."""

BROWSERS_OWN = re.compile(r"Failed to load resource: ")
"""Chromium itself logs a line for each answer of 4xx or 5xx, and for each request without an answer."""


@dataclass
class Visit:
    """One page in its own context; its console messages and requests are recorded."""

    stack: BackgroundStack
    page: Page
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.on("console", self._heard)
        self.page.on("pageerror", self._failed)
        self.page.context.on("request", self._asked)

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            (self.refused if BROWSERS_OWN.match(message.text) else self.errors).append(message.text)

    def _failed(self, error: Error) -> None:
        self.errors.append(str(error))

    def open(self, token: str | None = None) -> "Visit":
        """Open the page, signed in by a link if there is a token."""
        self.page.goto(f"{self.stack.url}/" + (f"#token={token}" if token else ""))
        return self

    def sent(self, method: str, path: str) -> list[Request]:
        """Return the requests of the page for a path."""
        return [item for item in self.requests if item.method == method and urlsplit(item.url).path == path]

    def panel(self, name: str) -> Locator:
        """Return the part of the page with a heading."""
        return self.page.get_by_role("region", name=name, exact=True)

    def looks(self) -> None:
        """Make the page read the account now, as when its window gets the focus."""
        self.page.evaluate("window.dispatchEvent(new Event('focus'))")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the page, as behind another tab, and show it again: while hidden it does not read the account."""
        say = """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        self.page.evaluate(say, True)
        yield
        self.page.evaluate(say, False)

    def is_always_well(self) -> None:
        """Make each health check end at once: with a clock that a test moves, any answer looks late."""
        self.page.add_init_script(
            """{
                const ask = window.fetch;
                const well = () => Promise.resolve(new Response('{"status": "ok"}'));
                window.fetch = (address, options) => (address === "health" ? well() : ask(address, options));
            }"""
        )

    def stop_the_clock(self) -> None:
        """Stop the page's clock, which must have been installed: its timers run when a test moves it."""
        self.page.clock.pause_at(self.page.evaluate("Date.now()") / 1000 + STOP_SECONDS)

    def let_pass(self, milliseconds: int) -> None:
        """Move the stopped clock forward; requests sent meanwhile are answered before it moves further."""
        self.page.clock.run_for(milliseconds)
        for request in self.requests:
            request.response()

    def has_focus(self, selector: str) -> None:
        """Wait until an element has the focus, which may come only after the next frame."""
        self.page.locator(f"{selector}:focus").wait_for(state="attached")

    def shows(self, name: str, figure: str) -> None:
        """Wait until a figure of the account summary has this value."""
        expect(self.glance(name)).to_have_text(figure, timeout=SECONDS * 1000)

    def glance(self, name: str) -> Locator:
        """Return the element with a figure of the account summary."""
        return self.page.locator(".glance > div", has=self.page.get_by_text(name, exact=True)).locator("dd")

    def says(self, text: str | re.Pattern[str]) -> None:
        """Wait until a text is visible."""
        self.page.get_by_text(text).first.wait_for()

    def must_be_clean(self, *, refused: bool = False) -> None:
        """Check that the page wrote no error and asked no other host; `refused` allows answers of 4xx and 5xx."""
        assert self.errors == []
        if not refused:
            assert self.refused == []
        hosts = {urlsplit(item.url).netloc for item in self.requests if not item.url.startswith(("data:", "blob:"))}
        assert hosts == {urlsplit(self.stack.url).netloc}


def visit(
    browser: Browser,
    stack: BackgroundStack,
    width: int = 1280,
    scheme: Literal["dark", "light"] = "light",
) -> Visit:
    """Return a visit that has not begun."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    return Visit(stack, context.new_page())
