"""The three routes of the program that this one replaces, and the form that they take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.service.http import forms
from sorawm_pipeline.service.http.forms import FormFile
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.jobs import JobState
from tests.service.http.conftest import Serve


async def test_a_video_goes_in_and_comes_out(serve: Serve) -> None:
    async with serve() as client:
        answer = await client.post(
            "/submit_remove_task", files={"video": ("mine.mp4", b"film one", "video/mp4")}
        )
        assert answer.status_code == 200
        task = answer.json()["task_id"]
        assert answer.json()["message"]
        await client.done(int(task))
        found = (await client.get("/get_results", params={"remove_task_id": task})).json()
        assert found == {
            "task_id": task,
            "status": "FINISHED",
            "percentage": 100,
            "download_url": f"/download/{task}",
        }
        film = await client.get(found["download_url"])
        assert film.content == b"cleaned film one"
        assert film.headers["content-disposition"].startswith("attachment")


async def test_the_same_video_again_has_the_same_result(serve: Serve) -> None:
    async with serve() as client:
        files = {"video": ("a.mp4", b"film")}
        first = (await client.post("/submit_remove_task", files=files)).json()["task_id"]
        await client.done(int(first))
        second = (await client.post("/submit_remove_task", files=files)).json()["task_id"]
        assert second != first
        found = (await client.get(f"/get_results?remove_task_id={second}")).json()
        assert (found["task_id"], found["status"]) == (second, "FINISHED")
        assert (await client.get(found["download_url"])).content == b"cleaned film"


async def test_on_the_way_and_failed(serve: Serve) -> None:
    async with serve(retries=0) as client:
        slow = await client.send_film("film slow")
        await client.house.until(lambda job: job.state is JobState.RUNNING, slow["id"])
        found = (await client.get(f"/get_results?remove_task_id={slow['id']}")).json()
        assert (found["status"], found["download_url"]) == ("PROCESSING", None)
        assert (await client.get(f"/download/{slow['id']}")).status_code == 404
        await client.post(f"/api/jobs/{slow['id']}/cancel")
        await client.done(slow["id"])
        found = (await client.get(f"/get_results?remove_task_id={slow['id']}")).json()
        assert (found["status"], found["percentage"]) == ("ERROR", 0)


@pytest.mark.parametrize("task", ["77", "x", "", "-1", "1" * 30, "../1"])
async def test_tasks_that_are_none(serve: Serve, task: str) -> None:
    async with serve() as client:
        answer = await client.get("/get_results", params={"remove_task_id": task})
        assert answer.status_code in (404, 422)
        assert (await client.get(f"/download/{task}")).status_code in (404, 422)


async def test_forms_that_are_none(serve: Serve) -> None:
    async with serve() as client:
        other = {"film": ("a.mp4", b"film")}
        assert (await client.post("/submit_remove_task", files=other)).status_code == 422
        assert (await client.post("/submit_remove_task", content=b"film")).status_code == 415
        for body in (b"", b"--B", b"--X\r\n\r\n", b"\r\n" * 100, b"--B\r\nno header\r\n\r\nx"):
            answer = await client.post(
                "/submit_remove_task",
                content=body,
                headers={"Content-Type": "multipart/form-data; boundary=B"},
            )
            assert answer.status_code in (400, 422), body
        assert (await client.get("/api/jobs")).json()["jobs"] == []


def form(content: bytes, before: bytes = b"") -> bytes:
    head = b'Content-Disposition: form-data; name="video"; filename="a b.mp4"\r\n'
    return before + b"--B\r\n" + head + b"\r\n" + content + b"\r\n--B--\r\n"


OTHER = b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.integers(1, 40), st.booleans())
async def test_however_a_form_is_cut_up_the_file_is_whole(
    content: bytes, size: int, other: bool
) -> None:
    if b"\r\n--B" in content:
        return
    body = form(content, OTHER if other else b"")

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    got = FormFile("multipart/form-data; boundary=B", pieces())
    assert await got.name() == "a b.mp4"
    assert b"".join([chunk async for chunk in got.chunks()]) == content


async def test_a_form_cut_short_is_told() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield form(b"film")[:-12]

    got = FormFile("multipart/form-data; boundary=B", pieces())
    await got.name()
    with pytest.raises(RequestError, match="cut short"):
        [chunk async for chunk in got.chunks()]


async def test_what_stands_before_the_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield OTHER[:-2]
        while True:
            yield b"x" * 65536

    async def silent() -> AsyncIterator[bytes]:
        yield OTHER
        await asyncio.Event().wait()

    kind = "multipart/form-data; boundary=B"
    async with asyncio.timeout(10):
        with pytest.raises(RequestError) as refused:
            await FormFile(kind, endless()).name()
        assert refused.value.status == 413
        monkeypatch.setattr(forms, "BEFORE_FILE_S", 0.05)
        with pytest.raises(RequestError) as refused:
            await FormFile(kind, silent()).name()
        assert refused.value.status == 408
