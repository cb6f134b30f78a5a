"""The readings of a running clip in the log."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from sorawm_pipeline.engine import Corridor
from sorawm_pipeline.engine.virtual import VirtualTime
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.hardware.memory import MemorySnapshot
from sorawm_pipeline.readings import INTERVAL_S, MIB, Readings, no_gpu
from tests.engine.fakes import FakeSink, FakeSource, Machine

MEMORY = MemorySnapshot(total=4000 * MIB, available=1500 * MIB, process=600 * MIB, peak=700 * MIB)


def logged(frames: int, gpu: Gpu | None = None) -> list[dict[str, Any]]:
    """What a corridor logs whose sink takes a second for each frame."""
    time = VirtualTime()
    machine = Machine(time)
    sink = FakeSink(machine, seconds=1.0)
    readings = Readings([sink], lambda: gpu, clock=time.now, read=lambda: MEMORY)
    corridor = Corridor(
        FakeSource(machine, frames),
        [sink],
        capacity=4,
        thread_factory=time.thread,
        clock=time.now,
        on_consumed=lambda count: readings.tell(count, corridor.snapshot),
    )
    with capture_logs() as lines:
        time.run(corridor.run())
    return [dict(line) for line in lines if line["event"] == "running"]


def test_a_long_clip_is_told_of_every_half_minute() -> None:
    lines = logged(100)
    assert [line["frames"] for line in lines] == pytest.approx([30, 60, 90], abs=1)
    assert lines[0] | {"frames": 30} == {
        "event": "running",
        "log_level": "info",
        "frames": 30,
        "process_mib": 600,
        "free_mib": 1500,
        "batches": {"sink": 1},
        "queues": {"source->sink": "4/4"},
    }


def test_a_short_clip_is_not() -> None:
    assert logged(int(INTERVAL_S) - 2) == []


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
