"""How a clip is doing, in the log every half a minute: memory, batches, queues, the GPU."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    """Tells them by the clock, so that a clip that is stuck is told of as well.

    Args:
        stages: of the corridor, whose batch caps are told.
        snapshot: of that corridor, now.
        gpu: the newest reading of the GPU in use, None without one.
        read: reads the host's memory.
    """

    def __init__(
        self,
        stages: Sequence[Stage[Any, Any]],
        snapshot: Callable[[], CorridorSnapshot],
        gpu: Callable[[], Gpu | None] = no_gpu,
        *,
        read: Callable[[], MemorySnapshot] = read_memory,
    ) -> None:
        self._stages = stages
        self._snapshot = snapshot
        self._gpu = gpu
        self._read = read

    @contextmanager
    def told(self) -> Iterator[None]:
        """Log them every `INTERVAL_S` seconds of the running event loop, until left."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def again() -> None:
            nonlocal timer
            timer = loop.call_later(INTERVAL_S, again)
            self._tell()

        timer = loop.call_later(INTERVAL_S, again)
        try:
            yield
        finally:
            timer.cancel()

    def _tell(self) -> None:
        memory, gpu, corridor = self._read(), self._gpu(), self._snapshot()
        told: dict[str, Any] = {
            "frames": corridor.consumed,
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
