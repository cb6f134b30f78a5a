"""What memory there is, as the old program's `memory_manager` told it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from sorawm_pipeline.hardware.batch_cap import CapState, Signals
from sorawm_pipeline.hardware.gpu import Gpu, GpuSampler, GpuSnapshot
from sorawm_pipeline.hardware.memory import MemorySnapshot, read_memory
from sorawm_pipeline.hardware.signals import gpu_signals, host_signals
from sorawm_pipeline.logs import get_logger

GPU_TIMEOUT_S = 2.0
"""How long the first reading of the GPUs is waited for."""

BATCH_SHARE = 0.3
"""Share of the free memory that a batch may take."""

SAMPLE_BYTES = 4
"""A sample of a picture on its way through a network is a 32-bit float."""

GIB = 1 << 30
log = get_logger(__name__)


def gpu_snapshot() -> GpuSnapshot:
    """The newest reading of the GPUs; the first call begins to sample them."""
    return _sampler().snapshot


@cache
def _sampler() -> GpuSampler:
    sampler = GpuSampler().__enter__()  # its thread is a daemon and ends with the process
    sampler.wait_first(GPU_TIMEOUT_S)
    return sampler


class MemoryManager:
    """Readings of this moment, of the host within its control group and of the first GPU listed.

    Args:
        read: reads the host.
        gpus: the newest reading of the GPUs.
    """

    def __init__(
        self,
        *,
        read: Callable[[], MemorySnapshot] = read_memory,
        gpus: Callable[[], GpuSnapshot] = gpu_snapshot,
    ) -> None:
        self._read = read
        self._gpus = gpus

    def get_memory_info(self) -> dict[str, dict[str, Any]]:
        """`cpu_memory` and, where there is a GPU that tells, `gpu_memory`; bytes and percentages.

        `cpu_memory`: total, available, used, percent; process and peak of this process.
        `gpu_memory`: total, free, used; allocated and reserved by this process's torch, also as
        allocated_percent and reserved_percent of the total.
        """
        host = self._read()
        used = host.total - host.available
        info = {
            "cpu_memory": {
                "total": host.total,
                "available": host.available,
                "used": used,
                "percent": _percent(used, host.total),
                "process": host.process,
                "peak": host.peak,
            }
        }
        gpu = self._gpu()
        if gpu is not None and gpu.total and gpu.free is not None:
            allocated, reserved = _taken_by_torch()
            info["gpu_memory"] = {
                "total": gpu.total,
                "free": gpu.free,
                "used": gpu.total - gpu.free,
                "allocated": allocated,
                "reserved": reserved,
                "allocated_percent": _percent(allocated, gpu.total),
                "reserved_percent": _percent(reserved, gpu.total),
            }
        return info

    def is_memory_pressure_high(self) -> bool:
        """Whether less than a tenth is free, of the host or the GPU, or the GPU slows itself down.

        Batches are halved for the same reasons.
        """
        return any(signals.pressure for signals in self._signals())

    def cleanup_memory(self, force_gc: bool = True) -> None:
        """Give back what nobody uses: unreachable objects and, with CUDA, torch's cached memory."""
        if force_gc:
            gc.collect()
        torch = _torch_with_cuda()
        if torch is not None:
            torch.cuda.empty_cache()

    def get_optimal_batch_size(self, base_batch_size: int, frame_size: tuple[int, int, int]) -> int:
        """A batch of at most the size wanted, at least 1: half under pressure, and what fits.

        Args:
            base_batch_size: pictures wanted.
            frame_size: height, width and channels of one.
        """
        size = max(1, base_batch_size)
        pressed = next((signals for signals in self._signals() if signals.pressure), Signals())
        size = CapState(cap=size, max_cap=size, ceiling=size).after_success(size, pressed).cap
        height, width, channels = frame_size
        each = max(1, height * width * channels * SAMPLE_BYTES)
        fitting = int(self._free() * BATCH_SHARE) // each
        return max(1, min(size, fitting))

    def log_memory_usage(self, stage: str = "") -> None:
        """Log the readings at `info`; `stage` says when."""
        info = self.get_memory_info()
        host, gpu = info["cpu_memory"], info.get("gpu_memory")
        on_gpu = {} if gpu is None else {"gpu_free": _gib(gpu["free"]), "gpu": _gib(gpu["total"])}
        log.info(
            "memory",
            stage=stage,
            process=_gib(host["process"]),
            free=_gib(host["available"]),
            total=_gib(host["total"]),
            **on_gpu,
        )

    def _gpu(self) -> Gpu | None:
        return next(iter(self._gpus().gpus), None)

    def _free(self) -> int:
        gpu = self._gpu()
        return self._read().available if gpu is None or gpu.free is None else gpu.free

    def _signals(self) -> tuple[Signals, Signals]:
        return host_signals(read=self._read)(), gpu_signals(self._gpus, None)()


def _torch_with_cuda() -> Any:
    """The module torch if this process runs something on a GPU with it, else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _taken_by_torch() -> tuple[int, int]:
    """Bytes of GPU memory that this process's torch uses, and that it holds."""
    torch = _torch_with_cuda()
    if torch is None:
        return 0, 0
    return int(torch.cuda.memory_allocated()), int(torch.cuda.memory_reserved())


def _percent(part: int, whole: int) -> float:
    return 100 * part / max(1, whole)


def _gib(number: int) -> str:
    return f"{number / GIB:.2f} GiB"


memory_manager = MemoryManager()
"""The one that scripts import."""
