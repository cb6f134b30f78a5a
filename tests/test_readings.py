"""The readings of a running clip in the log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from sorawm_pipeline.engine import Corridor
from sorawm_pipeline.engine.virtual import VirtualTime
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.hardware.memory import MemorySnapshot
from sorawm_pipeline.readings import INTERVAL_S, MIB, Reading, no_gpu, told
from tests.engine.fakes import FakeSink, FakeSource, Machine

MEMORY = MemorySnapshot(total=4000 * MIB, available=1500 * MIB, process=600 * MIB, peak=700 * MIB)


def logged(frames: int, gpu: Gpu | None = None, seconds: float = 1.0) -> list[dict[str, Any]]:
    """What a corridor logs whose sink takes so many seconds for a frame, to open and to close."""
    time = VirtualTime()
    machine = Machine(time)
    sink = FakeSink(machine, seconds=seconds)
    corridor = Corridor(
        FakeSource(machine, frames),
        [sink],
        capacity=4,
        thread_factory=time.thread,
        clock=time.now,
    )

    def reading() -> Reading:
        snapshot = corridor.snapshot()
        caps = {sink.name: sink.cap()}
        return Reading("cleaning", snapshot.consumed, corridor=snapshot, batch_caps=caps, gpu=gpu)

    async def run() -> None:
        with told(reading, lambda: MEMORY):
            await corridor.run()
        await asyncio.sleep(10 * INTERVAL_S)  # in which nothing more is said

    with capture_logs() as lines:
        time.run(run())
    return [dict(line) for line in lines if line["event"] == "running"]


def test_a_long_clip_is_told_of_every_half_minute() -> None:
    lines = logged(100)
    assert [line["frames"] for line in lines] == pytest.approx([30, 60, 90], abs=3)
    assert lines[0] | {"frames": 30} == {
        "event": "running",
        "log_level": "info",
        "phase": "cleaning",
        "frames": 30,
        "process_mib": 600,
        "free_mib": 1500,
        "batches": {"sink": 1},
        "queues": {"source->sink": "4/4"},
    }


def test_a_short_clip_is_not() -> None:
    assert logged(int(INTERVAL_S) - 5) == []


def test_a_clip_that_is_stuck_is() -> None:
    lines = logged(1, seconds=1.5 * INTERVAL_S)
    assert [line["frames"] for line in lines[:3]] == [0, 0, 0]


def test_of_a_gpu_its_memory_load_and_heat_are_told() -> None:
    gpu = Gpu(0, free=5000 * MIB, utilisation=83, temperature=71, throttled=True)
    line = logged(40, gpu)[0]
    assert (line["gpu_free_mib"], line["gpu_busy"], line["gpu_celsius"]) == (5000, 83, 71)
    assert line["gpu_throttled"]
    silent = logged(40, Gpu(0))[0]
    assert (silent["gpu_free_mib"], silent["gpu_busy"], silent["gpu_throttled"]) == (
        None,
        None,
        False,
    )
    assert no_gpu() is None
