"""States of a service, always the same: what the tests look at and what the pictures show."""

from __future__ import annotations

import math
from typing import Any

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
    return {
        "version": "0.1.0",
        "uptime_s": 189_540.0,
        "paused": None,
        "accepting": True,
        "jobs": {"waiting": 2, "running": 1, "done": 214, "quarantined": 1, "duplicate": 3},
        "workers": [{"slot": 0, "pid": 4711, "job": None, "since": None, "progress": None}],
        "machine": {
            "memory": {"total": 25 * GB, "available": 16 * GB, "process": 90_000_000},
            "gpus": [],
        },
        "limits": {"upload_bytes": 4 * GB},
        **fields,
    }


def gpu(load: float = 84.0, used: float = 9.6 * GB) -> Json:
    return {
        "index": 0,
        "name": "GPU",
        "total": 24 * GB,
        "used": int(used),
        "free": int(24 * GB - used),
        "utilisation": load,
        "temperature": 67,
        "throttled": False,
        "error": None,
    }


def job(number: int, name: str, state: str, **fields: Any) -> Json:
    done = {"frames": 9000, "fps": 53.2, "wall_s": 171.3, "finished": NOW - 300 * (20 - number)}
    return {
        "id": number,
        "name": name,
        "state": state,
        "created": NOW - 400 * (20 - number),
        "started": None,
        "finished": None,
        "attempts": 1,
        "source": f"/srv/video/in/{name}",
        "output": f"/srv/video/out/{name}",
        "error": None,
        "size": 42_300_000 + number * 977_000,
        "frames": None,
        "fps": None,
        "wall_s": None,
        "not_before": None,
        "same_as": None,
        **(done if state == "done" else {}),
        **fields,
    }


def jobs() -> list[Json]:
    broken = {
        "kind": "unreadable",
        "stage": "decode",
        "message": "interview.mov ends in the middle of a frame: 41.3 of 96.0 MB are there",
    }
    lost = {"kind": "device", "stage": "inpaint", "message": "the GPU has no memory left"}
    return [
        job(12, "harbour at dawn.mp4", "waiting"),
        job(11, "kite festival.mp4", "waiting", attempts=2, error=lost, not_before=NOW + 45),
        job(10, "night market, take 3.mp4", "running", started=NOW - 64),
        job(9, "interview.mov", "quarantined", error=broken, finished=NOW - 610),
        job(8, "paper boats.mp4", "done"),
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
    return {**told.model_dump(mode="json"), **fields}


def working(second: float = 64.0, *, gpu_told: bool = False) -> Json:
    """A status while job 10 is cleaned."""
    told = progress(second, gpu_told=gpu_told)
    worker = {"slot": 0, "pid": 4711, "job": 10, "since": NOW - second, "progress": told}
    machine = status()["machine"]
    if gpu_told:
        machine["gpus"] = [gpu()]
    return status(workers=[worker], machine=machine)
