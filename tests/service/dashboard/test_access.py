"""Whether everybody can use the page: keyboards, screen readers, phones, dark and light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.service.dashboard import scenes
from tests.service.dashboard.pages import visit
from tests.service.dashboard.scripted import ScriptedService

DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}
SERIOUS = {"serious", "critical"}


def findings(page: Page) -> list[str]:
    """What axe-core holds to be serious or worse, with the places."""
    violations: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{found['id']}: {node['html']}"
        for found in violations
        if found["impact"] in SERIOUS
        for node in found["nodes"]
    ]


@pytest.fixture
def lively(page: Page, service: ScriptedService, clips: tuple[Path, Path]) -> Page:
    """The page at work, with each kind of job and a finished one."""
    service.status = scenes.working(64, gpu_told=True)
    service.files = {(8, "source"): clips[0], (8, "result"): clips[1]}
    mark = {"first_frame": 0, "last_frame": 29, "box": [16, 8, 48, 24], "confidence": 0.9}
    service.details[8] = {
        "report": {"frames": {"decoded": 50, "encoded": 50, "marked": 30}, "marks": [mark]}
    }
    visit(page)
    expect(page.locator("#jobs-body tr")).to_have_count(8)
    expect(page.locator("#runs .facts")).to_contain_text("3,392 / 9,000")
    return page


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)])
def test_axe_finds_nothing_serious(lively: Page, scheme: Any, size: ViewportSize) -> None:
    lively.emulate_media(color_scheme=scheme)
    lively.set_viewport_size(size)
    lively.get_by_text("The same in figures").click()
    lively.get_by_text("Or name one that is on the server").click()
    assert findings(lively) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_comparison(lively: Page, scheme: Any) -> None:
    lively.emulate_media(color_scheme=scheme)
    lively.get_by_role("button", name="Compare paper boats.mp4").click()
    expect(lively.locator(".stage")).to_be_visible()
    assert findings(lively) == []


def test_axe_finds_nothing_serious_in_banners_and_sign_in(
    page: Page, service: ScriptedService
) -> None:
    service.status = scenes.status(paused="the disk is full", accepting=False)
    visit(page)
    expect(page.locator("#paused")).to_be_visible()
    assert findings(page) == []
    page.get_by_role("button", name="Forget interview.mov").click()
    assert findings(page) == []
    page.keyboard.press("Escape")
    service.token = "open sesame"  # noqa: S105 - of a test
    page.reload()
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert findings(page) == []


@pytest.mark.parametrize("opened", ["", "#job=8", "#job=9"])
def test_a_phone_needs_no_sideways_scrolling(lively: Page, opened: str) -> None:
    lively.set_viewport_size(PHONE)
    if opened:
        lively.evaluate("hash => { location.hash = hash; }", opened)
        expect(lively.locator("#details .state-line")).to_be_visible()
    expect(lively.locator("svg.corridor .room.upright")).to_have_count(5)
    lively.get_by_text("The same in figures").click(force=True)
    too_wide = lively.evaluate(
        """() => [document.scrollingElement, document.getElementById("details")]
            .filter((part) => part.scrollWidth > part.clientWidth + 1)
            .map((part) => part.tagName)"""
    )
    assert too_wide == []


def test_dark_and_light_by_the_system_and_by_choice(lively: Page) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    lively.emulate_media(color_scheme="light")
    light = lively.evaluate(ground)
    lively.emulate_media(color_scheme="dark")
    dark = lively.evaluate(ground)
    assert light != dark
    lively.get_by_role("radio", name="Light").check(force=True)
    assert lively.evaluate(ground) == light
    lively.reload()
    assert lively.evaluate(ground) == light  # it is remembered
    expect(lively.get_by_role("radio", name="Light")).to_be_checked()
    lively.get_by_role("radio", name="Dark").check(force=True)
    lively.emulate_media(color_scheme="light")
    assert lively.evaluate(ground) == dark


def test_nothing_moves_for_those_who_want_no_motion(lively: Page) -> None:
    stream = lively.locator("svg.corridor.flows .stream").first
    expect(stream).to_have_css("animation-name", "none")
    lively.emulate_media(reduced_motion="no-preference")
    expect(stream).to_have_css("animation-name", "stream")


def test_the_keyboard_reaches_everything_in_order(lively: Page) -> None:
    lively.keyboard.press("Tab")
    expect(lively.get_by_role("link", name="Skip to the jobs")).to_be_focused()
    lively.keyboard.press("Enter")
    expect(lively.get_by_role("heading", name="Jobs")).to_be_focused()
    lively.keyboard.press("Tab")
    expect(lively.get_by_role("radio", name="All 221")).to_be_focused()
    lively.keyboard.press("ArrowRight")
    expect(lively.get_by_role("radio", name="Waiting 2")).to_be_checked()
    expect(lively.locator("#jobs-body tr")).to_have_count(2)
    lively.keyboard.press("Tab")
    expect(lively.locator("#jobs-body button").first).to_be_focused()
    outline = lively.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_file_chooser_can_be_reached_by_keyboard(page: Page) -> None:
    page.on("filechooser", lambda _: None)  # choosers are caught from now on
    visit(page)
    page.get_by_role("button", name="Choose videos").focus()
    with page.expect_file_chooser():
        page.keyboard.press("Enter")


def test_the_page_asks_no_other_server(browser: Browser, service: ScriptedService) -> None:
    context = browser.new_context(base_url=service.url)
    page = context.new_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url.split("/")[2]))
    visit(page)
    expect(page.locator("#jobs-body tr")).to_have_count(8)
    context.close()
    assert asked == {service.url.removeprefix("http://")}
