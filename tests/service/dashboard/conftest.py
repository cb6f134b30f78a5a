"""The page in Debian's Chromium, before a scripted service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect, sync_playwright

from tests.clips import Clip, scene
from tests.service.dashboard import scenes
from tests.service.dashboard.scripted import ScriptedService

CHROMIUM = shutil.which("chromium")
DESK: ViewportSize = {"width": 1280, "height": 900}
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playing:
        browser = playing.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running_service() -> Iterator[ScriptedService]:
    with ScriptedService() as service:
        yield service


@pytest.fixture
def service(running_service: ScriptedService) -> Iterator[ScriptedService]:
    running_service.reset(scenes.status(), scenes.jobs())
    yield running_service
    running_service.hold_uploads.set()
    running_service.hang_up()


@pytest.fixture
def expected_complaints() -> list[str]:
    """Parts of what the browser's console may say in this test."""
    return []


@pytest.fixture
def page(
    browser: Browser, service: ScriptedService, expected_complaints: list[str]
) -> Iterator[Page]:
    """A fresh page at a fixed time; whatever its console complains about fails the test."""
    context = browser.new_context(viewport=DESK, base_url=service.url, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.clock.set_fixed_time(scenes.NOW)
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} ({message.location.get('url')})")

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    told = [c for c in complaints if not any(part in c for part in expected_complaints)]
    assert told == []


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A marked clip of two seconds, and the same without the mark."""
    folder = tmp_path_factory.mktemp("clips")
    before = Clip(frames=50).write(folder / "before.mp4")
    return before, Clip(frames=50, draw=scene).write(folder / "after.mp4")
