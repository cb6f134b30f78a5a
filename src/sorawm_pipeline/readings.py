"""How a clip is doing at a moment, and in the log every half a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sorawm_pipeline.engine import CorridorSnapshot
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.hardware.memory import MemorySnapshot, read_memory
from sorawm_pipeline.logs import get_logger

INTERVAL_S = 30.0
MIB = 1 << 20
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """A clip on its way, seen at any moment and not only when a frame comes out.

    Attributes:
        phase: `preparing`, `cleaning`, `verifying` or `finishing`.
        frames: frames encoded, or, while verifying, looked at.
        frames_expected: what the container claims, or None.
        fps: frames per second so far.
        corridor: its stages and queues; None before there is one.
        batch_caps: the batch that each stage after decode would take now.
        gpu: the newest reading of the GPU in use, None without one.
        in_pieces: whether it can rest between two pieces.
    """

    phase: str
    frames: int = 0
    frames_expected: int | None = None
    fps: float = 0.0
    corridor: CorridorSnapshot | None = None
    batch_caps: Mapping[str, int] = field(default_factory=dict)
    gpu: Gpu | None = None
    in_pieces: bool = False


def no_gpu() -> Gpu | None:
    """The reading of a GPU where there is none."""
    return None


@contextmanager
def told(
    reading: Callable[[], Reading], memory: Callable[[], MemorySnapshot] = read_memory
) -> Iterator[None]:
    """Log a reading every `INTERVAL_S` seconds of the running event loop, until left.

    By the clock, not by progress: a clip that is stuck is told of as well.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def again() -> None:
        nonlocal timer
        timer = loop.call_later(INTERVAL_S, again)
        log.info("running", **_words(reading(), memory()))

    timer = loop.call_later(INTERVAL_S, again)
    try:
        yield
    finally:
        timer.cancel()


def _words(reading: Reading, memory: MemorySnapshot) -> dict[str, Any]:
    queues = {} if reading.corridor is None else reading.corridor.queues
    words: dict[str, Any] = {
        "phase": reading.phase,
        "frames": reading.frames,
        "process_mib": memory.process // MIB,
        "free_mib": memory.available // MIB,
        "batches": dict(reading.batch_caps),
        "queues": {name: f"{q.queued}/{q.capacity}" for name, q in queues.items()},
    }
    if (gpu := reading.gpu) is not None:
        words["gpu_free_mib"] = None if gpu.free is None else gpu.free // MIB
        words["gpu_busy"] = gpu.utilisation
        words["gpu_celsius"] = gpu.temperature
        words["gpu_throttled"] = gpu.throttled
    return words
