"""States of a service, always the same: what the tests look at and what the pictures show.

They are built with the API's own models, so that the page is tried with what the service tells.
"""

from __future__ import annotations

import math
from typing import Any

from sorawm_pipeline.service.http.views import (
    JobView,
    MachineView,
    ProgressView,
    StatusView,
    WorkerView,
)
from sorawm_pipeline.service.wire import (
    GpuProgress,
    QueueProgress,
    StageProgress,
    WorkProgress,
)
from tests.service.dashboard.scripted import Json

NOW = 1_790_000_000.0
GB = 1_000_000_000
HOSTILE = '<img src=x onerror="window.hit=1">.mp4'

STAGES = ("decode", "detect", "inpaint", "temporal", "encode")
SPENT = {
    "decode": (0.29, 0.0, 0.71),
    "detect": (0.34, 0.03, 0.63),
    "inpaint": (0.62, 0.04, 0.34),
    "temporal": (0.93, 0.05, 0.02),
    "encode": (0.58, 0.42, 0.0),
}
"""Shares of its time that a stage is busy, waits for input, waits for room."""


def status(**fields: Any) -> Json:
    """As GET /api/status; nothing runs."""
    told = StatusView(
        version="0.1.0",
        now=NOW,
        uptime_s=189_540.0,
        paused=None,
        accepting=True,
        watched="/srv/video/in",
        watching=True,
        settling=0,
        jobs={"waiting": 2, "running": 1, "done": 214, "quarantined": 1, "duplicate": 3},
        workers=[WorkerView(slot=0, device="cpu", pid=4711, job=None, progress=None, helps=None)],
        machine=MachineView(
            memory_total=25 * GB,
            memory_available=16 * GB,
            daemon_rss=90_000_000,
            load=0.94,
            disk_free=412 * GB,
        ),
        upload_max=4 * GB,
        paths=True,
    )
    return {**told.model_dump(mode="json"), **fields}


def job(number: int, name: str, state: str, **fields: Any) -> Json:
    ended = NOW - 300 * (20 - number)
    done = {"started": ended - 171.3, "finished": ended} if state == "done" else {}
    told = JobView(
        id=number,
        name=name,
        state=state,
        created=NOW - 400 * (20 - number),
        started=None,
        finished=None,
        attempts=1,
        source=f"/srv/video/in/{name}",
        output=f"/srv/video/out/{name}" if state == "done" else None,
        same_as=None,
        error=None,
    )
    return JobView.model_validate({**told.model_dump(), **done, **fields}).model_dump(mode="json")


def jobs() -> list[Json]:
    broken = {
        "kind": "unreadable",
        "stage": "decode",
        "message": "interview.mov ends in the middle of a frame: 41.3 of 96.0 MB are there",
    }
    lost = {"kind": "device", "stage": "inpaint", "message": "the GPU has no memory left"}
    return [
        job(12, "harbour at dawn.mp4", "waiting"),
        job(11, "kite festival.mp4", "waiting", attempts=2, error=lost),
        job(10, "night market, take 3.mp4", "running", started=NOW - 64),
        job(9, "interview.mov", "quarantined", error=broken, finished=NOW - 610),
        job(8, "paper boats.mp4", "done", frames=9000, fps=53.2, wall_s=171.3),
        job(7, "paper boats (copy).mp4", "duplicate", same_as=8, finished=NOW - 3000),
        job(6, "dunes.mkv", "done", frames=21_400, fps=61.8, wall_s=346.0),
        job(5, HOSTILE, "cancelled", finished=NOW - 5000),
    ]


def progress(second: float, *, gpu_told: bool = False, **fields: Any) -> Json:
    """A clip at 53 frames per second, so many seconds after it began."""
    frames = int(53 * second)
    wave = [0.5 + 0.5 * math.sin(second * speed) for speed in (0.7, 1.1, 1.9, 0.5)]
    stages = {
        name: StageProgress(
            items=frames + 20 * (4 - index),
            batches=frames // 4,
            busy_s=busy * second,
            wait_in_s=wait_in * second,
            wait_out_s=wait_out * second,
        )
        for index, (name, (busy, wait_in, wait_out)) in enumerate(SPENT.items())
    }
    capacities = (16, 16, 16, 32)
    least = (0.95, 0.8, 1.0, 0.1)
    queues = {
        f"{STAGES[index]}->{STAGES[index + 1]}": QueueProgress(
            capacity=capacity,
            queued=round(capacity * min(1.0, least[index] + 0.25 * wave[index])),
            peak=capacity,
        )
        for index, capacity in enumerate(capacities)
    }
    told = WorkProgress(
        phase="cleaning",
        frames=frames,
        frames_expected=9000,
        fps=50 + 6 * wave[0],
        stages=stages,
        queues=queues,
        batch_caps={"detect": 16, "inpaint": 8, "temporal": 8, "encode": 8},
        live_frames=131,
        live_bound=260,
        rss=int(0.93 * GB),
        peak_rss=int(0.97 * GB),
        gpu=GpuProgress(free=14 * GB, total=24 * GB, utilisation=84.0, temperature=67.0)
        if gpu_told
        else None,
    )
    return {**ProgressView.of(told).model_dump(mode="json"), **fields}


def working(second: float = 64.0, *, gpu_told: bool = False) -> Json:
    """A status while job 10 is cleaned."""
    told = status()
    told["workers"][0] |= {"job": 10, "progress": progress(second, gpu_told=gpu_told)}
    return told
