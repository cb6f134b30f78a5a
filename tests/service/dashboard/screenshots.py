"""Takes the pictures of the documents: `python -m tests.service.dashboard.screenshots FOLDER`.

The states are those of `scenes.py`, the comparison is the demo's clip, cleaned when this runs.
"""

from __future__ import annotations

import asyncio
import io
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sorawm_pipeline import Pipeline, PipelineConfig, demo
from tests.service.dashboard import scenes
from tests.service.dashboard.scripted import Json, ScriptedService

MINUTES = 5
COLOURS = 256

EVENTS = """
  window.EventSource = class extends EventTarget {
    constructor() {
      super();
      window.told = (at, name, data) => {
        Date.now = () => at * 1000;
        this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }));
      };
      setTimeout(() => this.dispatchEvent(new Event("open")));
    }
    close() {}
  };
"""
"""In place of the stream: minutes of events at once, each at its own time."""


def clean_demo(folder: Path) -> Json:
    """Make the demo's clip and clean it; returns the report."""
    source, result = folder / "marked.mp4", folder / "cleaned.mp4"
    demo.make_clip(source)
    report = asyncio.run(Pipeline(PipelineConfig()).process(source, result))
    told: Json = report.model_dump(mode="json")
    return told


def busy_minutes() -> list[tuple[float, str, Json]]:
    """What a service at work tells in some minutes, once every two seconds."""
    length = MINUTES * 60
    told = []
    for second in range(0, length, 2):
        at = scenes.NOW - length + second
        fps = 52 + 3 * math.sin(second / 23) + 1.5 * math.sin(second / 7)
        fields: Json = {"fps": fps, "rss": int(1e9 - 4e8 / (1 + second / 12))}
        if second < 40:
            fields["batch_caps"] = {**dict.fromkeys(scenes.STAGES[1:], 4), "detect": 8}
        progress = scenes.progress((second - length + 64) % 170 + 1, **fields)
        status = scenes.working(64)
        status["machine"]["memory_available"] += int(3e8 * (1 - second / length))
        status["workers"][0]["progress"] = progress
        told.append((at, "status", status))
    return [*told, (scenes.NOW, "status", scenes.working(64))]


def save(page: Page, path: Path, method: Image.Quantize) -> None:
    """Few colours make a small file; which ones suits areas of one colour, or smooth ones."""
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    shot.convert("RGB").quantize(COLOURS, method, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    print(path, path.stat().st_size // 1000, "kB")


class Studio:
    def __init__(self, browser: Browser, service: ScriptedService, folder: Path) -> None:
        self.browser = browser
        self.service = service
        self.folder = folder

    def take(
        self,
        name: str,
        told: list[tuple[float, str, Json]],
        *,
        size: tuple[int, int] = (1280, 900),
        scheme: Literal["light", "dark"] = "light",
        act: Callable[[Page], None] = lambda page: None,
        colours: Image.Quantize = Image.Quantize.MAXCOVERAGE,
    ) -> None:
        context = self.browser.new_context(
            base_url=self.service.url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.clock.set_fixed_time(scenes.NOW)
        page.add_init_script(EVENTS)
        page.goto("/")
        expect(page.locator("#jobs-note")).not_to_have_text("Loading…")
        page.evaluate("told => told.forEach(([at, ...rest]) => window.told(at, ...rest))", told)
        act(page)
        save(page, self.folder / f"dashboard-{name}.png", colours)
        context.close()


def compare(page: Page) -> None:
    page.get_by_role("button", name="Compare paper boats.mp4").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".stage")).to_be_visible()
    dialog.get_by_role("button", name="Next mark").click()
    expect(dialog.locator(".frame-about")).to_contain_text("a mark here")
    page.get_by_role("slider", name="Where before ends").fill("88")
    expect(dialog.locator("video.before")).to_have_js_property("seeking", False)


def show_jobs(page: Page) -> None:
    page.locator("#jobs-title").evaluate("title => title.scrollIntoView()")


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as made:
        take_all(folder, Path(made), clean_demo(Path(made)))


def take_all(folder: Path, made: Path, report: Json) -> None:
    with ScriptedService() as service, sync_playwright() as playing:
        service.reset(scenes.status(), scenes.jobs())
        service.details[8] = {"report": {**report, "fps": 0.0}}  # speed is measured by benches
        service.files[8, "source"] = made / "marked.mp4"
        service.files[8, "result"] = made / "cleaned.mp4"
        browser = playing.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        studio = Studio(browser, service, folder)
        busy = busy_minutes()
        calm = [(scenes.NOW, "status", scenes.status(jobs={"done": 214}))]
        studio.take("working", busy, size=(1280, 900), scheme="dark")
        studio.take("failed", busy, size=(1280, 760), act=show_jobs)
        studio.take(
            "compare", calm, size=(1100, 960), act=compare, colours=Image.Quantize.MEDIANCUT
        )
        studio.take("phone", busy, size=(360, 980))
        service.reset(scenes.status(), [])
        studio.take("idle", calm, size=(1280, 900))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
