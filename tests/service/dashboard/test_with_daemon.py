"""The page before the program itself: a clip is uploaded, cleaned, compared, forgotten."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, expect

from tests.clips import Clip

TOKEN = "not much of a secret"  # noqa: S105 - of a test
CLEANED_MS = 60_000


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`serve` with a token, and where it listens."""
    (tmp_path / "token").write_text(TOKEN)
    settings = {
        "output": {"folder": str(tmp_path / "out")},
        "service": {
            "port": 0,
            "token_file": str(tmp_path / "token"),
            "ledger": str(tmp_path / "ledger.sqlite3"),
            "uploads": str(tmp_path / "uploads"),
            "min_free": 0,
        },
    }
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(settings))
    command = (sys.executable, "-m", "sorawm_pipeline", "serve", str(tmp_path / "pipeline.yaml"))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        try:
            told = (re.search(r"dashboard: (\S+)", line) for line in running.stderr)
            yield running, next(found[1] for found in told if found)
        finally:
            running.terminate()


@pytest.mark.slow
def test_a_clip_is_uploaded_cleaned_compared_and_forgotten(
    program: tuple[subprocess.Popen[str], str], browser: Browser, tmp_path: Path
) -> None:
    daemon, url = program
    clip = Clip(frames=30).write(tmp_path / "kite.mp4")
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Policy" in said.text else None)
    page.goto(url)
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#version")).not_to_be_empty()

    page.locator("#file").set_input_files(clip)
    job = page.locator("#jobs-body tr")
    expect(job.locator(".badge")).to_have_text("Done", timeout=CLEANED_MS)
    job.get_by_role("button", name="Compare").click()
    dialog = page.get_by_role("dialog", name=re.compile("kite-.*mp4"))
    expect(dialog.locator(".stage")).to_be_visible()
    expect(dialog).to_contain_text("edited")
    sizes = "all => all.map(one => [one.videoWidth, one.videoHeight])"
    assert dialog.locator("video").evaluate_all(sizes) == [[96, 64]] * 2
    page.keyboard.press("Escape")

    with page.expect_download() as downloading:
        job.get_by_role("link", name="Download").click()
    assert Path(downloading.value.path()).stat().st_size > 1000
    job.get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#jobs-note")).to_contain_text("No jobs yet")

    daemon.terminate()
    assert daemon.wait(30) == 0
    expect(page.locator("#lost")).to_be_visible()
    page.close()
    assert wrong == []
