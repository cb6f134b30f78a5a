"""The table of jobs, uploads, and the details of a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.clips import Clip
from tests.service.dashboard import scenes
from tests.service.dashboard.pages import row, visit
from tests.service.dashboard.scripted import ScriptedService

MARKS = [
    {"first_frame": 0, "last_frame": 29, "box": [16, 8, 48, 24], "confidence": 0.9},
    {"first_frame": 40, "last_frame": 49, "box": [16, 8, 48, 24], "confidence": 0.8},
]

IN_THE_MIDDLE = """before => new Promise((resolve) => {
  const after = before.nextElementSibling;
  const look = () => {
    if (after.currentTime < 1) requestAnimationFrame(look);
    else resolve([before.currentTime, after.currentTime, !before.paused]);
  };
  look();
})"""
"""The times of both videos when the second one has played for a second, whether the first plays."""


@pytest.fixture
def finished(service: ScriptedService, clips: tuple[Path, Path]) -> ScriptedService:
    """Job 8 is finished and its clips are there."""
    service.files = {(8, "source"): clips[0], (8, "result"): clips[1]}
    service.details[8] = {
        "report": {
            "frames": {"decoded": 50, "encoded": 50, "marked": 40},
            "encoder": {"codec": "libx264", "hardware": False, "tried": [], "left_out": []},
            "provenance": {
                "signed": True,
                "digital_source_type": "https://iptc.example/x/algorithmicMedia",
            },
            "marks": [{**mark, "filled_frames": 0} for mark in MARKS],
            "fps": 53.2,
            "wall_s": 3.0,
        },
        "tries": [
            {
                "number": 1,
                "started": scenes.NOW - 9,
                "finished": scenes.NOW - 6,
                "outcome": "done",
                "error": None,
            }
        ],
    }
    return service


def test_a_failed_job_says_what_happened_and_what_to_do(
    page: Page, service: ScriptedService
) -> None:
    visit(page)
    failed = row(page, "interview.mov")
    expect(failed.locator(".badge")).to_have_text("Failed")
    expect(failed).to_contain_text("ends in the middle of a frame")
    expect(failed).to_contain_text("Copy or export the file again")
    failed.get_by_role("button", name="interview.mov", exact=True).click()
    dialog = page.get_by_role("dialog", name="interview.mov")
    expect(dialog).to_contain_text("What went wrong")
    expect(dialog).to_contain_text("Kind: unreadable in decode")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(service.url + "/")


def test_cancel_and_retry(page: Page, service: ScriptedService) -> None:
    visit(page)
    waiting = row(page, "harbour at dawn.mp4")
    waiting.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(waiting.locator(".badge")).to_have_text("Cancelled")
    expect(waiting.get_by_role("button", name="harbour at dawn.mp4", exact=True)).to_be_focused()
    waiting.get_by_role("button", name="Retry harbour at dawn.mp4").click()
    expect(waiting.locator(".badge")).to_have_text("Waiting")
    assert service.asked == ["POST /api/jobs/12/cancel", "POST /api/jobs/12/retry"]


def test_pause_and_resume(page: Page, service: ScriptedService) -> None:
    visit(page)
    waiting = row(page, "harbour at dawn.mp4")
    expect(waiting.get_by_role("button", name="Resume")).to_be_hidden()
    waiting.get_by_role("button", name="Pause").click()
    expect(waiting.locator(".badge")).to_have_text("Paused")
    expect(waiting.get_by_role("button", name="Pause")).to_be_hidden()
    waiting.get_by_role("button", name="Resume").click()
    expect(waiting.locator(".badge")).to_have_text("Waiting")
    assert service.asked == ["POST /api/jobs/12/pause", "POST /api/jobs/12/resume"]


def test_forgetting_asks_first(page: Page, service: ScriptedService) -> None:
    visit(page)
    failed = row(page, "interview.mov")
    forget = failed.get_by_role("button", name="Forget interview.mov")
    forget.click()
    question = page.get_by_role("dialog", name="Forget interview.mov?")
    question.get_by_role("button", name="Keep it").click()
    expect(question).to_be_hidden()
    assert service.asked == []
    forget.click()
    question.get_by_role("button", name="Forget it").click()
    expect(failed).to_have_count(0)
    assert service.asked == ["DELETE /api/jobs/9"]


def test_a_refused_wish_is_told(
    page: Page, service: ScriptedService, expected_complaints: list[str]
) -> None:
    expected_complaints.append("404")
    visit(page)
    retry = row(page, "interview.mov").get_by_role("button", name="Retry")
    expect(retry).to_be_visible()
    page.route(
        "**/api/jobs/9/retry",
        lambda route: route.fulfill(
            status=404, json={"error": {"kind": "missing", "message": "There is no job 9."}}
        ),
    )
    retry.click()
    expect(page.locator("#jobs-note")).to_have_text("interview.mov: There is no job 9.")


def test_filter_and_pages(page: Page, service: ScriptedService) -> None:
    many = [scenes.job(number, f"clip {number}.mp4", "done") for number in range(1, 61)]
    service.reset(
        scenes.status(jobs={"done": 60, "quarantined": 1}),
        [*many, scenes.job(61, "bad.mp4", "quarantined")],
    )
    visit(page)
    rows = page.locator("#jobs-body tr")
    expect(rows).to_have_count(25)
    expect(page.get_by_role("button", name="Newer")).to_be_disabled()
    page.get_by_role("button", name="Older").click()
    expect(page.locator("#page-number")).to_have_text("Page 2")
    expect(rows.first).to_contain_text("clip 36.mp4")
    page.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(11)
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("radio", name="Failed 1").check(force=True)
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("bad.mp4")
    service.change(61, state="waiting")
    expect(page.locator("#jobs-note")).to_have_text("No job is failed.")


def test_a_new_job_comes_to_the_top(page: Page, service: ScriptedService) -> None:
    visit(page)
    expect(row(page, "harbour at dawn.mp4")).to_be_visible()
    service.jobs[13] = scenes.job(13, "fresh.mp4", "waiting")
    service.change(13)
    expect(page.locator("#jobs-body tr").first).to_contain_text("fresh.mp4")


def test_upload_by_file_chooser(page: Page, service: ScriptedService, tmp_path: Path) -> None:
    service.hold_uploads.clear()
    clip = tmp_path / "été & co.mp4"
    clip.write_bytes(bytes(300_000))
    visit(page)
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Choose videos").click()
    choosing.value.set_files(clip)
    expect(page.get_by_role("progressbar", name="Upload of été & co.mp4")).to_be_visible()
    service.hold_uploads.set()
    expect(row(page, "été & co.mp4")).to_be_visible()
    expect(page.locator("#uploads li")).to_have_count(0)
    assert service.uploaded == {"été & co.mp4": 300_000}


def test_a_file_that_is_too_large_is_not_sent(
    page: Page, service: ScriptedService, tmp_path: Path
) -> None:
    service.status = scenes.status(upload_max=1000)
    (tmp_path / "large.mp4").write_bytes(bytes(2000))
    visit(page)
    expect(page.locator("#upload-limit")).to_contain_text("1.0 kB")
    page.locator("#file").set_input_files(tmp_path / "large.mp4")
    expect(page.locator("#uploads")).to_contain_text("this service takes 1.0 kB at most")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#uploads li")).to_have_count(0)
    assert service.asked == []


def test_upload_by_dropping(page: Page, service: ScriptedService) -> None:
    visit(page)
    expect(row(page, "harbour at dawn.mp4")).to_be_visible()
    taken = page.evaluate(
        """() => {
          const carried = new DataTransfer();
          carried.items.add(new File(["four"], "dropped.mp4"));
          const told = { dataTransfer: carried, bubbles: true, cancelable: true };
          return ["dragover", "drop"].map((name) => {
            const event = new DragEvent(name, told);
            document.body.dispatchEvent(event);
            return [event.defaultPrevented, document.body.classList.contains("dropping")];
          });
        }"""
    )
    assert taken == [[True, True], [True, False]]  # or the browser would leave the page
    expect(row(page, "dropped.mp4")).to_be_visible()
    assert service.uploaded == {"dropped.mp4": 4}


def test_submit_by_path(page: Page, expected_complaints: list[str]) -> None:
    expected_complaints.append("403")
    visit(page)
    page.get_by_text("Or name one that is on the server").click()
    path = page.get_by_label("Path on the server")
    path.fill("/etc/passwd")
    page.keyboard.press("Enter")
    expect(page.locator("#path-error")).to_contain_text("outside the folders that may be read")
    path.fill("/srv/video/there.mp4")
    page.get_by_role("button", name="Clean it").click()
    expect(row(page, "there.mp4")).to_be_visible()


def test_a_hostile_name_is_only_text(page: Page, service: ScriptedService) -> None:
    service.change(
        5,
        state="quarantined",
        error={"kind": "internal", "stage": None, "message": f"bad {scenes.HOSTILE}"},
    )
    visit(page)
    hostile = row(page, scenes.HOSTILE)
    expect(hostile).to_contain_text(f"bad {scenes.HOSTILE}")
    hostile.get_by_role("button", name="Forget").click()
    expect(page.locator("#confirm-title")).to_have_text(f"Forget {scenes.HOSTILE}?")
    page.keyboard.press("Escape")
    hostile.get_by_role("button", name=scenes.HOSTILE, exact=True).click()
    expect(page.locator("#details-title")).to_have_text(scenes.HOSTILE)
    expect(page.locator("img")).to_have_count(0)
    assert page.evaluate("() => window.hit") is None


def test_before_and_after(page: Page, finished: ScriptedService) -> None:
    visit(page, "/#job=8")
    dialog = page.get_by_role("dialog", name="paper boats.mp4")
    stage = dialog.locator(".stage")
    expect(stage).to_be_visible()
    assert dialog.locator("video.before").evaluate("video => video.muted")
    slider = dialog.get_by_role("slider", name="Where before ends and after begins")
    expect(slider).to_have_attribute("aria-valuetext", "50% before, 50% after")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "51% before, 49% after")
    expect(dialog.locator("video.after")).to_have_css("clip-path", "inset(0px 0px 0px 51%)")
    frame = stage.bounding_box()
    assert frame is not None
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + 9)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] / 4, frame["y"] + 9)
    page.mouse.up()
    expect(slider).to_have_value("25")
    expect(dialog).to_contain_text("40 of 50 frames, 2 runs")
    expect(dialog).to_contain_text("edited; computed, by no trained model; signed")


def test_found_marks_are_drawn(page: Page, finished: ScriptedService) -> None:
    visit(page, "/#job=8")
    dialog = page.get_by_role("dialog", name="paper boats.mp4")
    boxes = dialog.locator(".mark-boxes rect")
    expect(boxes).to_have_count(1)
    expect(boxes).to_have_attribute("width", "32")
    expect(dialog.locator(".mark-boxes")).to_have_attribute("viewBox", "0 0 96 64")
    about = dialog.locator(".frame-about")
    dialog.get_by_role("button", name="Next mark").click()
    expect(about).to_have_text("frame 40, a mark here")
    dialog.get_by_role("button", name="1 frame back").click()
    expect(about).to_have_text("frame 39")
    expect(boxes).to_have_count(0)
    dialog.get_by_role("button", name="Previous mark").click()
    expect(about).to_have_text("frame 0, a mark here")
    dialog.get_by_label("Draw the marks").uncheck()
    expect(dialog.locator(".mark-boxes")).to_be_hidden()


def test_both_videos_play_as_one(page: Page, finished: ScriptedService) -> None:
    visit(page, "/#job=8")
    dialog = page.get_by_role("dialog", name="paper boats.mp4")
    dialog.get_by_role("button", name="Play").click()
    before, after, plays = dialog.locator("video").first.evaluate(IN_THE_MIDDLE)
    assert plays
    assert before == pytest.approx(after, abs=0.3)
    expect(dialog.get_by_role("button", name="Play")).to_be_visible()  # it has come to its end
    ends: list[float] = dialog.locator("video").evaluate_all("all => all.map(v => v.currentTime)")
    assert ends == pytest.approx([2.0, 2.0], abs=0.05)


def test_a_codec_that_the_browser_lacks_is_told(
    page: Page, finished: ScriptedService, tmp_path: Path
) -> None:
    finished.files[8, "source"] = Clip(frames=3, codec="ffv1").write(tmp_path / "source.mkv")
    visit(page, "/#job=8")
    note = page.locator(".compare-note")
    expect(note).to_contain_text("This browser cannot play the source (encoded by libx264)")
    expect(page.get_by_role("link", name="Download the source")).to_be_visible()
    expect(page.locator(".stage")).to_be_hidden()


def test_a_source_that_went_away_is_told(
    page: Page, finished: ScriptedService, expected_complaints: list[str]
) -> None:
    expected_complaints.append("404")
    del finished.files[8, "source"]
    visit(page, "/#job=8")
    expect(page.locator(".compare-note")).to_have_text(
        "The source cannot be shown: The file is not there any more."
    )
