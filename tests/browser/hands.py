"""Two ways to use the page: with the mouse, and with the keyboard alone."""

from dataclasses import dataclass
from typing import Protocol

from playwright.sync_api import Locator, Page

MOST_STOPS = 150


class Hand(Protocol):
    """Does what a user does."""

    def press(self, target: Locator) -> None:
        """Press a button."""

    def fill(self, target: Locator, text: str) -> None:
        """Type into a field, replacing what is there."""

    def choose(self, target: Locator) -> None:
        """Choose one of several options."""


@dataclass
class Mouse:
    """Clicks; only text is typed."""

    page: Page

    def press(self, target: Locator) -> None:
        """Click a button."""
        target.click()

    def fill(self, target: Locator, text: str) -> None:
        """Click into a field, select its content and type over it."""
        target.click(click_count=3)
        self.page.keyboard.type(text)

    def choose(self, target: Locator) -> None:
        """Click the label of the option."""
        target.locator("xpath=..").click()


@dataclass
class Keyboard:
    """Moves the focus with Tab or Shift+Tab, never by script, and checks that the focus is visible."""

    page: Page

    def press(self, target: Locator) -> None:
        """Go to a button and press it."""
        self._reach(target)
        self.page.keyboard.press("Enter")

    def fill(self, target: Locator, text: str) -> None:
        """Move to a field, select its content and type over it."""
        self._reach(target)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def choose(self, target: Locator) -> None:
        """Move to the chosen option of the group, then to the other one with the arrow keys."""
        group = target.locator("xpath=ancestor::fieldset").locator("input:checked")
        self._reach(group)
        if not target.is_checked():
            self.page.keyboard.press("ArrowRight")
        assert target.is_checked()

    def _reach(self, target: Locator) -> None:
        target.wait_for(state="attached")
        is_before = (
            "element => document.activeElement.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_PRECEDING"
        )
        key = "Shift+Tab" if target.evaluate(is_before) else "Tab"
        for _ in range(MOST_STOPS):
            if target.evaluate("element => element === document.activeElement"):
                assert self._is_seen(), "the focus cannot be seen"
                return
            self.page.keyboard.press(key)
        raise AssertionError(f"no key leads to {target}")

    def _is_seen(self) -> bool:
        """Tell whether the focused element, or the box around it, has an outline."""
        seen: bool = self.page.evaluate(
            """() => {
                for (let at = document.activeElement, up = 0; at && up < 3; at = at.parentElement, up += 1) {
                    const style = getComputedStyle(at);
                    if (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) return true;
                }
                return false;
            }"""
        )
        return seen
