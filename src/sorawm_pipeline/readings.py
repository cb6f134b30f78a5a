"""How a clip is doing, in the log every half a minute: memory, batches, queues, the GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sorawm_pipeline.engine import CorridorSnapshot, Stage
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.hardware.memory import MemorySnapshot, read_memory
from sorawm_pipeline.logs import get_logger

INTERVAL_S = 30.0
MIB = 1 << 20
log = get_logger(__name__)


def no_gpu() -> Gpu | None:
    """The reading of a GPU where there is none."""
    return None


class Readings:
    """Tells them when asked, but not too often.

    Args:
        stages: of the corridor, whose batch caps are told.
        gpu: the newest reading of the GPU in use, None without one.
        clock: seconds.
        read: reads the host's memory.
    """

    def __init__(
        self,
        stages: Sequence[Stage[Any, Any]],
        gpu: Callable[[], Gpu | None] = no_gpu,
        *,
        clock: Callable[[], float] = time.monotonic,
        read: Callable[[], MemorySnapshot] = read_memory,
    ) -> None:
        self._stages = stages
        self._gpu = gpu
        self._clock = clock
        self._read = read
        self._due = clock() + INTERVAL_S

    def tell(self, frames: int, snapshot: Callable[[], CorridorSnapshot]) -> None:
        """Log the readings of this moment if the last ones are old; `frames` have come out."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + INTERVAL_S
        memory, gpu, corridor = self._read(), self._gpu(), snapshot()
        told: dict[str, Any] = {
            "frames": frames,
            "process_mib": memory.process // MIB,
            "free_mib": memory.available // MIB,
            "batches": {stage.name: stage.cap() for stage in self._stages},
            "queues": {name: f"{q.queued}/{q.capacity}" for name, q in corridor.queues.items()},
        }
        if gpu is not None:
            told["gpu_free_mib"] = None if gpu.free is None else gpu.free // MIB
            told["gpu_busy"] = gpu.utilisation
            told["gpu_celsius"] = gpu.temperature
            told["gpu_throttled"] = gpu.throttled
        log.info("running", **told)
