"""What the page shows of a service at work, and how it keeps up with it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.service.dashboard import scenes
from tests.service.dashboard.pages import visit
from tests.service.dashboard.scripted import ScriptedService


def test_idle(page: Page, service: ScriptedService) -> None:
    service.reset(scenes.status(jobs={}), [])
    visit(page)
    expect(page.locator("#pill")).to_have_text("Idle")
    expect(page.locator("#runs")).to_contain_text("Nothing is running")
    expect(page.locator("svg.corridor .room")).to_have_count(5)
    expect(page.locator("svg.corridor .room.at-rest")).to_have_count(5)
    expect(page.locator("#jobs-note")).to_contain_text("No jobs yet")
    expect(page.locator("#version")).to_contain_text("version 0.1.0, up 2 d 4 h")


def test_a_clip_goes_through_the_corridor(page: Page, service: ScriptedService) -> None:
    service.status = scenes.working(64)
    visit(page)
    run = page.get_by_role("article", name="Worker 1")
    expect(run.get_by_role("button", name="night market, take 3.mp4")).to_be_visible()
    service.tell("progress", {"slot": 0, "job": 10, "progress": scenes.progress(68)})
    expect(run.locator(".facts")).to_contain_text("3,604 / 9,000")
    expect(run.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "40")
    expect(run.locator(".facts")).to_contain_text(re.compile(r"left1 min \d+ s"))
    room = run.locator("svg .room", has_text="temporal")
    expect(room.locator(".share")).to_have_text("93%")
    expect(room).to_contain_text("in 5% · out 2%")
    expect(room).to_contain_text("batch ≤ 8")
    expect(run.locator("svg .pacemaker .title")).to_contain_text("temporal")
    expect(run.locator("svg .pipe").first.locator(".cell.taken")).to_have_count(16)
    expect(run.locator("svg .pipe.full")).to_have_count(2)
    expect(page.locator("#pill")).to_contain_text("Working")
    row = page.get_by_role("row", name="night market")
    expect(row.locator(".done-share")).to_have_text("40%")


def test_the_same_stands_in_a_table(page: Page, service: ScriptedService) -> None:
    service.status = scenes.working(64)
    visit(page)
    page.get_by_text("The same in figures").click()
    row = page.get_by_role("row", name="detect")
    expect(row).to_contain_text("34%")
    expect(row).to_contain_text("63%")
    expect(row).to_contain_text("of 16, at most 16")


def test_shares_are_those_of_the_last_moments(page: Page, service: ScriptedService) -> None:
    service.status = scenes.working(100)
    visit(page)
    share = page.locator("svg .room", has_text="decode").locator(".share")
    expect(share).to_have_text("29%")
    later = scenes.progress(100)
    later["stages"]["decode"]["busy_s"] += 2.0  # nothing but work for two seconds
    service.tell("progress", {"slot": 0, "job": 10, "progress": later})
    expect(share).to_have_text("100%")


def test_a_job_that_ends_leaves_its_worker_and_says_so(
    page: Page, service: ScriptedService
) -> None:
    service.status = scenes.working(64)
    visit(page)
    row = page.get_by_role("row", name="night market")
    expect(row.locator(".badge")).to_have_text("Running")
    service.change(10, state="done", frames=9000, fps=53.0, wall_s=171.0, finished=scenes.NOW)
    expect(row.locator(".badge")).to_have_text("Done")
    expect(row).to_contain_text("9,000 frames · 53.0/s")
    expect(page.locator("#runs")).to_contain_text("Nothing is running")
    expect(page.locator("#announcements")).to_have_text("night market, take 3.mp4: Done")


def test_several_workers_have_a_card_each(page: Page, service: ScriptedService) -> None:
    service.status = scenes.working(64)
    visit(page)
    service.tell("progress", {"slot": 1, "job": 12, "progress": scenes.progress(5)})
    expect(page.get_by_role("article")).to_have_count(2)
    second = page.get_by_role("article", name="Worker 2")
    expect(second.get_by_role("button", name="harbour at dawn.mp4")).to_be_visible()


def test_a_clip_says_which_workers_help(page: Page, service: ScriptedService) -> None:
    service.status = scenes.working(64)
    (worker,) = service.status["workers"]
    others = [worker | {"slot": n, "job": None, "progress": None, "helps": 10} for n in (1, 2)]
    service.status["workers"] = [worker, *others]
    visit(page)
    expect(page.get_by_role("article")).to_have_count(1)
    expect(page.get_by_role("article")).to_contain_text("Worker 1, with help from 2, 3")


def test_machine_and_gpu_are_plotted(page: Page, service: ScriptedService) -> None:
    service.status = scenes.working(64, gpu_told=True)
    visit(page)
    speed = page.get_by_role("region", name="Frames per second")
    expect(speed.locator("canvas")).to_be_visible()
    expect(speed.locator("strong")).to_have_text(re.compile(r"^5\d\.\d$"))
    expect(page.get_by_role("region", name="Memory")).to_contain_text("9.0 GB of 25.0 GB")
    gpu = page.get_by_role("region", name="GPU")
    expect(gpu).to_contain_text("84% at 67 °C")
    expect(gpu).to_contain_text("42% of 24.0 GB")
    expect(page.get_by_role("region", name="Batch caps")).to_contain_text("inpaint8")


def test_a_paused_queue_says_why(page: Page, service: ScriptedService) -> None:
    visit(page)
    banner = page.locator("#paused")
    expect(page.locator("#pill")).to_have_text("2 waiting")
    expect(banner).to_be_hidden()
    service.tell("queue", {"paused": "the disk of /srv/video/out is full"})
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("The queue is paused: the disk of /srv/video/out is full.")
    expect(page.locator("#pill")).to_have_text("Paused")
    service.tell("queue", {"paused": None})
    expect(banner).to_be_hidden()


@pytest.mark.parametrize("expected_complaints", [["503"]])
def test_a_lost_connection_is_shown_and_taken_up_again(
    page: Page, service: ScriptedService
) -> None:
    visit(page)
    expect(page.get_by_role("row", name="harbour")).to_be_visible()
    service.silent = True
    service.hang_up()
    expect(page.locator("#lost")).to_be_visible()
    expect(page.locator("#pill")).to_have_text("No connection")
    service.silent = False
    service.jobs[13] = scenes.job(13, "while you were away.mp4", "waiting")
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.get_by_role("row", name="while you were away.mp4")).to_be_visible()


def test_the_token_is_asked_for_where_it_is_needed(
    page: Page, service: ScriptedService, expected_complaints: list[str]
) -> None:
    expected_complaints.append("401")
    service.token = "open sesame"  # noqa: S105 - of a test
    page.goto("/")
    dialog = page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")  # there is nothing behind it
    dialog.get_by_label("Token").fill("a guess")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("That is not the token of this service.")
    dialog.get_by_label("Token").fill("open sesame")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("row", name="harbour")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("Token")).to_have_value("")
