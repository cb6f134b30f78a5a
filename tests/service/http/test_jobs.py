"""Jobs over HTTP: what is taken in, told, changed and given back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sorawm_pipeline.service.jobs import JobState
from tests.service.http.conftest import Serve


async def test_an_upload_becomes_a_job_and_its_result_can_be_fetched(serve: Serve) -> None:
    async with serve() as client:
        job = await client.send_film("film one", "holiday in Rome.MP4")
        assert job["state"] == "waiting"
        assert job["name"].startswith("holiday-in-Rome-")
        assert job["name"].endswith(".mp4")
        ended = await client.done(job["id"])
        assert (ended["state"], len(ended["tries"]), ended["tries"][0]["outcome"]) == (
            *("done", 1, "done"),
        )
        assert ended["report"]["status"] == "done"
        late = await client.post(f"/api/jobs/{job['id']}/cancel")
        assert (late.status_code, late.json()["error"]["kind"]) == (409, "state")
        result = await client.get(f"/api/jobs/{job['id']}/result")
        assert (result.status_code, result.text) == (200, "cleaned film one")
        assert result.headers["content-type"] == "video/mp4"
        assert result.headers["content-disposition"].startswith("inline")
        saved = await client.get(f"/api/jobs/{job['id']}/result?save=true")
        assert saved.headers["content-disposition"].startswith("attachment")
        source = await client.get(f"/api/jobs/{job['id']}/source")
        assert source.text == "film one"


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=0-6", 206, "cleaned"),
        ("bytes=8-", 206, "film one"),
        ("bytes=-3", 206, "one"),
        ("bytes=99-", 416, None),
    ],
)
async def test_ranges(serve: Serve, wanted: str, status: int, content: str | None) -> None:
    async with serve() as client:
        job = await client.send_film("film one")
        await client.done(job["id"])
        answer = await client.get(f"/api/jobs/{job['id']}/result", headers={"Range": wanted})
        assert answer.status_code == status
        if content is not None:
            assert answer.text == content


async def test_a_result_that_was_replaced_is_not_given_out(serve: Serve, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    async with serve() as client:
        job = await client.send_film()
        ended = await client.done(job["id"])
        place = Path(ended["output"])
        place.unlink()
        assert (await client.get(f"/api/jobs/{job['id']}/result")).status_code == 410
        place.symlink_to(secret)
        answer = await client.get(f"/api/jobs/{job['id']}/result")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (410, "gone")
        Path(ended["source"]).write_text("another film, longer")
        assert (await client.get(f"/api/jobs/{job['id']}/source")).status_code == 410


async def test_lists_go_page_by_page_and_by_state(serve: Serve) -> None:
    async with serve() as client:
        numbers = []
        for number in range(5):
            job = await client.send_film(f"film {number}")
            await client.done(job["id"])
            numbers.append(job["id"])
        bad = await client.send_film("film fail unsupported")
        await client.done(bad["id"])
        first = (await client.get("/api/jobs?limit=2&state=done")).json()
        assert [job["id"] for job in first["jobs"]] == numbers[:2:-1]
        second = (await client.get(f"/api/jobs?limit=4&state=done&before={first['next']}")).json()
        assert [job["id"] for job in second["jobs"]] == numbers[2::-1]
        assert second["next"] is None
        failed = (await client.get("/api/jobs?state=quarantined&state=skipped")).json()["jobs"]
        assert [(job["id"], job["error"]["kind"]) for job in failed] == [(bad["id"], "unsupported")]
        assert (await client.get("/api/jobs?state=lost")).status_code == 422


async def test_cancel_retry_forget(serve: Serve) -> None:
    async with serve() as client:
        job = await client.send_film("film slow")
        number = job["id"]
        await client.house.until(lambda job: job.state is JobState.RUNNING, number)
        running = await client.delete(f"/api/jobs/{number}")
        assert (running.status_code, running.json()["error"]["kind"]) == (409, "running")
        assert (await client.post(f"/api/jobs/{number}/retry")).status_code == 409
        assert (await client.post(f"/api/jobs/{number}/cancel")).status_code == 200
        assert (await client.done(number))["state"] == "cancelled"
        assert (await client.post(f"/api/jobs/{number}/cancel")).status_code == 200
        at = len(client.house.seen)
        assert (await client.post(f"/api/jobs/{number}/retry")).json()["state"] == "waiting"
        await client.house.until(lambda job: job.state is JobState.RUNNING, number, after=at)
        await client.post(f"/api/jobs/{number}/cancel")
        await client.house.until(lambda job: job.state is JobState.CANCELLED, number, after=at)
        assert (await client.delete(f"/api/jobs/{number}")).status_code == 204
        for method, path in (
            ("GET", ""),
            ("GET", "/result"),
            ("GET", "/source"),
            ("POST", "/cancel"),
            ("POST", "/retry"),
            ("DELETE", ""),
        ):
            answer = await client.request(method, f"/api/jobs/{number}{path}")
            assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "unknown")


async def test_a_failure_is_told_in_words_and_its_result_is_not_there(serve: Serve) -> None:
    async with serve(retries=0) as client:
        job = await client.send_film("film fail too_large")
        ended = await client.done(job["id"])
        assert ended["state"] == "quarantined"
        assert ended["error"] == {"kind": "too_large", "stage": None, "message": "it is too_large"}
        answer = await client.get(f"/api/jobs/{job['id']}/result")
        assert answer.status_code == 409
        assert "quarantined" in answer.json()["error"]["message"]


async def test_what_is_no_clip_is_refused_and_not_kept(serve: Serve) -> None:
    async with serve() as client:
        answer = await client.post("/api/uploads?name=a.mp4", content=b"half of a film")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "unreadable")
        assert not list(client.state.uploads.folder.iterdir())
        assert (await client.get("/api/jobs")).json() == {"jobs": [], "next": None}


async def test_paths_only_inside_the_roots(serve: Serve, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "sub", outside):
        folder.mkdir(parents=True)
    (root / "sub" / "a.mp4").write_text("film a")
    (outside / "b.mp4").write_text("film b")
    (root / "link.mp4").symlink_to(outside / "b.mp4")
    (root / "inner.mp4").symlink_to(root / "sub" / "a.mp4")
    (root / "out").symlink_to(outside)
    async with serve(roots=[root]) as client:

        async def status(path: object) -> int:
            return (await client.post("/api/jobs", json={"path": str(path)})).status_code

        for path in (
            outside / "b.mp4",
            outside / "missing.mp4",
            root / "link.mp4",
            root / "out" / "b.mp4",
            root / ".." / "outside" / "b.mp4",
            "/etc/passwd",
            "/proc/self/fd/0",
            f"{root}\0/a.mp4",
            "x" * 5000,
        ):
            assert await status(path) in (403, 422), path
        assert await status("relative.mp4") == 422
        assert await status(root / "missing.mp4") == 422
        assert await status(root / "sub") == 422
        assert (await client.get("/api/jobs")).json()["jobs"] == []
        assert await status(root / "inner.mp4") == 201
        assert (await client.done(1))["source"] == str(root / "sub" / "a.mp4")
        assert (await client.get("/api/status")).json()["paths"] is True


async def test_without_roots_no_path_is_taken(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("film")
    async with serve() as client:
        answer = await client.post("/api/jobs", json={"path": str(path)})
        assert answer.status_code == 403
        assert "service.roots" in answer.json()["error"]["message"]


async def test_nothing_new_is_taken_while_it_ends(serve: Serve) -> None:
    async with serve() as client:
        slow = await client.send_film("film slow")
        await client.house.until(lambda job: job.state is JobState.RUNNING, slow["id"])
        client.daemon.stop()
        for path in ("/api/uploads", "/submit_remove_task", f"/api/jobs/{slow['id']}/retry"):
            answer = await client.post(path, content=b"film")
            assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "stopping")
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["stopping"])
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/api/status")).json()["accepting"] is False


async def test_before_it_is_up_it_says_so(serve: Serve) -> None:
    async with serve() as client:
        client.daemon.up.clear()
        for path in ("/api/status", "/api/jobs", "/metrics"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "starting")
        assert (await client.get("/readyz")).json()["reasons"] == ["starting"]
        assert (await client.get("/healthz")).status_code == 200
        client.daemon.up.set()


async def test_several_uploads_at_once(serve: Serve) -> None:
    async with serve(uploads_at_once=8) as client:
        jobs = await asyncio.gather(*(client.send_film(f"film {n}") for n in range(8)))
        assert len({job["name"] for job in jobs}) == 8
        for job in jobs:
            assert (await client.done(job["id"]))["state"] == "done"


async def test_the_same_content_twice_is_a_duplicate(serve: Serve) -> None:
    async with serve() as client:
        first = await client.send_film()
        await client.done(first["id"])
        second = await client.send_film()
        assert (second["state"], second["same_as"]) == ("duplicate", first["id"])
