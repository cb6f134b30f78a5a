"""Server-Sent Events and metrics: what they tell, and that they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sorawm_pipeline.service.events import JobProgress
from sorawm_pipeline.service.http import live
from sorawm_pipeline.service.http.metrics import KINDS, Totals, known
from sorawm_pipeline.service.jobs import JobState
from sorawm_pipeline.service.wire import StageProgress, WorkProgress
from tests.service.http.conftest import Client, Serve, turn


async def told(answer: httpx.Response) -> AsyncIterator[tuple[int, str, Any]]:
    """Number, name and content of each event."""
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield int(event["id"]), event["event"], json.loads(event["data"])
            event = {}


async def test_everything_that_happens_is_told_in_order(serve: Serve) -> None:
    async with serve() as client, client.stream("GET", "/api/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = told(answer)
        number, name, status = await anext(events)
        assert (number, name, status["jobs"]["waiting"]) == (1, "status", 0)
        job = await client.send_film()
        seen: list[tuple[str, Any]] = []
        async for number, name, data in events:
            assert number == len(seen) + 2
            seen.append((name, data))
            if name == "job" and data["state"] == "done":
                break
        states = [data["state"] for name, data in seen if name == "job"]
        assert states[0] == "waiting"
        assert states.index("running") < states.index("done")
        progress = next(data for name, data in seen if name == "progress")
        assert (progress["slot"], progress["job"]) == (0, job["id"])
        assert progress["progress"]["batch_caps"] == {"detect": 4}
        assert any(name == "worker" and data["pid"] for name, data in seen)


async def test_a_heartbeat_tells_the_state(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sorawm_pipeline.service.daemon.TICK_S", 0.01)
    async with serve() as client, client.stream("GET", "/api/events") as answer:
        events = told(answer)
        names = [(await anext(events))[1] for _ in range(4)]
        assert names.count("status") >= 3


async def test_streams_end_with_the_daemon(serve: Serve) -> None:
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        connected = asyncio.Event()

        async def listen(client: Client) -> None:
            async with client.stream("GET", "/api/events") as answer:
                async for _ in told(answer):
                    connected.set()

        async with serve() as client:
            listening = group.create_task(listen(client))
            await connected.wait()
            client.daemon.stop_now()
            await listening


async def test_only_so_many_listen(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LISTENERS", 1)
    async with serve() as client:
        async with client.stream("GET", "/api/events") as answer:
            first = told(answer)  # held: when it goes, the client has gone
            await anext(first)
            assert (await client.get("/api/events")).status_code == 503
        async with asyncio.timeout(10):
            while client.state.listeners:
                await turn()


# metrics


async def scraped(client: Client) -> dict[str, dict[tuple[str, ...], float]]:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in values
            values[labels] = sample.value
    return found


async def test_metrics_count_jobs_by_state_and_reason(serve: Serve) -> None:
    async with serve(retries=0) as client:
        before = await scraped(client)
        assert before["sorawm_jobs"][("done",)] == 0
        for text in ("film", "film fail unsupported", "film fail dream"):
            await client.done((await client.send_film(text))["id"])
        async with asyncio.timeout(10):
            while sum(client.state.totals.ended.values()) < 3:
                await turn()
        after = await scraped(client)
        assert after["sorawm_jobs"][("done",)] == 1
        assert after["sorawm_jobs"][("quarantined",)] == 2
        assert after["sorawm_failed_jobs"][("unsupported",)] == 1
        assert after["sorawm_failed_jobs"][("other",)] == 1
        assert after["sorawm_jobs_ended_total"] == {
            ("none", "done"): 1,
            ("unsupported", "quarantined"): 1,
            ("other", "quarantined"): 1,
        }
        assert after["sorawm_workers_started_total"][()] >= 1
        assert after["sorawm_daemon_resident_bytes"][()] > 1e7
        assert set(before) <= set(after)


async def test_a_running_job_shows_its_worker(serve: Serve) -> None:
    async with serve() as client:
        job = await client.send_film("film slow")
        async with asyncio.timeout(10):
            while not any(isinstance(event, JobProgress) for event in client.house.seen):
                await turn()
        found = await scraped(client)
        assert found["sorawm_worker_up"] == {("0",): 1}
        assert found["sorawm_batch_cap_frames"] == {("0", "detect"): 4}
        assert found["sorawm_live_frames_bound"] == {("0",): 9}
        await client.post(f"/api/jobs/{job['id']}/cancel")
        await client.house.until(lambda job: job.state is JobState.CANCELLED, job["id"])


def progress(frames: int, phase: str = "cleaning", **busy_s: float) -> WorkProgress:
    stages = {
        name: StageProgress(items=frames, batches=1, busy_s=busy, wait_in_s=0, wait_out_s=0)
        for name, busy in busy_s.items()
    }
    return WorkProgress(
        phase=phase,
        frames=frames,
        frames_expected=None,
        fps=1,
        stages=stages,
        queues={},
        batch_caps={},
        live_frames=0,
        live_bound=0,
        rss=0,
        peak_rss=0,
    )


def test_totals_add_what_is_new_of_every_job_and_pass() -> None:
    totals = Totals()
    totals._progress(1, progress(10, decode=1.0))
    totals._progress(2, progress(3, decode=0.5))
    totals._progress(1, progress(25, decode=1.5))
    totals._progress(1, progress(9000, "reading"))  # bytes
    totals._progress(1, progress(30, "verifying", decode=9.0))  # another pass
    totals._progress(1, progress(5, decode=0.25))  # cleaned once more
    assert totals.frames == 33
    assert totals.stages["decode", "busy"] == pytest.approx(2.25)
    assert totals.stages["decode", "items"] == 33


def test_labels_are_bounded() -> None:
    totals = Totals()
    for number in range(1000):
        totals._progress(number, progress(1, "cleaning", **{f"stage{number}": 1.0}))
    assert len(totals.stages) == 0
    assert len(totals._before) <= 256
    assert known("made up") == "other"
    assert known("") == "none"
    assert known(KINDS[0]) == KINDS[0]
