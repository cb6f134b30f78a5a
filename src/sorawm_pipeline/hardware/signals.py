"""Readings of the machine as `Signals` for the batch policy, one function per kind of device."""

from __future__ import annotations

import time
from collections.abc import Callable

from sorawm_pipeline.hardware.batch_cap import Signals
from sorawm_pipeline.hardware.gpu import GpuSnapshot
from sorawm_pipeline.hardware.memory import MemorySnapshot, read_memory


def host_signals(
    budget: int | None = None,
    *,
    interval_s: float = 0.25,
    read: Callable[[], MemorySnapshot] = read_memory,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[], Signals]:
    """Signals from the host's memory, read at most every `interval_s` seconds.

    `budget` is what this process may use, in bytes; None leaves only the machine's own limit.
    """
    newest = Signals()
    due = float("-inf")

    def signals() -> Signals:
        nonlocal newest, due
        if clock() >= due:
            due = clock() + interval_s
            newest = Signals(newest.sample + 1, read().free_share(budget))
        return newest

    return signals


def gpu_signals(snapshot: Callable[[], GpuSnapshot], uuid: str | None) -> Callable[[], Signals]:
    """Signals of one GPU from the newest snapshot.

    A device that keeps its memory to itself gives no memory pressure: there the cap grows until
    memory runs out once, and remembers. With `uuid` None it is the first device that NVML lists.
    """

    def signals() -> Signals:
        now = snapshot()
        gpu = now.find(uuid) if uuid is not None else next(iter(now.gpus), None)
        if gpu is None or gpu.free is None or not gpu.total:
            return Signals(now.sample, throttled=gpu is not None and gpu.throttled)
        return Signals(now.sample, gpu.free / gpu.total, gpu.throttled)

    return signals
