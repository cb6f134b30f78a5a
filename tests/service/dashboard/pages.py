"""Finding one's way on the page."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def visit(page: Page, path: str = "/") -> None:
    """Open the page and wait until it listens to the service's events."""
    page.goto(path)
    expect(page.locator("#version")).not_to_be_empty()


def row(page: Page, name: str) -> Locator:
    """A job in the table."""
    return page.get_by_role("row").filter(has=page.get_by_role("button", name=name, exact=True))
