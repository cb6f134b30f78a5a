"""Detectors that stay loaded between clips, each on the one thread that may use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import TypeVar, TypeVarTuple

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import Owner, OwnerThread
from sorawm_pipeline.hardware.batch_cap import BatchCap, Signals
from sorawm_pipeline.hardware.gpu import GpuSampler
from sorawm_pipeline.hardware.signals import gpu_signals, host_signals
from sorawm_pipeline.stages.detect import DOUBTFUL
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import find_weights

T = TypeVar("T")
Args = TypeVarTuple("Args")

AUTO_START = 4
"""Batch that an adaptive cap starts from."""


class Lent:
    """An owner thread that outlives the corridor it is lent to."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def call(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        return await self._owner.call(fn, *args)

    async def stop(self) -> None:
        """Leave it running for the next clip."""


class WarmDetector:
    """A loaded detector, its thread, and what its device tells about memory.

    Build and close it on `owner`.
    """

    def __init__(self, owner: Owner, config: PipelineConfig) -> None:
        self.owner = owner
        self.detector = _load(config)
        self._stack = ExitStack()
        self._stack.callback(self.detector.close)
        self._signals, self._release = self._readings(config)

    def batch_cap(self, size: int, *, fixed: bool) -> BatchCap:
        """A cap of at most `size`: from the start if `fixed`, else growing as memory allows."""
        start = size if fixed else min(size, AUTO_START)
        return BatchCap(size, start=start, signals=self._signals, release=self._release)

    def close(self) -> None:
        if self._release is not None:
            self._release()
        self._stack.close()

    def _readings(
        self, config: PipelineConfig
    ) -> tuple[Callable[[], Signals], Callable[[], None] | None]:
        device = self.detector.device
        if not device.startswith("cuda"):
            return host_signals(config.memory.budget), None
        import torch

        sampler = self._stack.enter_context(GpuSampler())
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return gpu_signals(lambda: sampler.snapshot, uuid), torch.cuda.empty_cache


class WarmDetectors:
    """Lends detectors out, one borrower each; loads another when all are out.

    Args:
        keep: whether a detector that comes back stays loaded for the next clip.
    """

    def __init__(self, config: PipelineConfig, *, keep: bool) -> None:
        self._config = config
        self._keep = keep
        self._idle: list[WarmDetector] = []

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[WarmDetector]:
        """Raises ModelError or DeviceError: the detector cannot be loaded."""
        warm = self._idle.pop() if self._idle else await self._load()
        try:
            yield warm
        finally:
            if self._keep:
                self._idle.append(warm)
            else:
                await _close(warm)

    async def close(self) -> None:
        """Close what is idle now and what comes back later."""
        self._keep = False
        while self._idle:
            await _close(self._idle.pop())

    async def _load(self) -> WarmDetector:
        owner = OwnerThread("detect")
        try:
            return await owner.call(WarmDetector, owner, self._config)
        except BaseException:
            await owner.stop()
            raise


async def _close(warm: WarmDetector) -> None:
    try:
        await warm.owner.call(warm.close)
    finally:
        await warm.owner.stop()


def _load(config: PipelineConfig) -> Detector:
    device = resolve_device(config.device)
    weights = find_weights(config.detect.weights, device=device)
    asked = config.detect.confidence
    believe = weights.confidence if asked is None else asked
    return Detector(
        weights,
        device=device,
        confidence=believe * DOUBTFUL,
        image_size=config.detect.image_size,
        half=config.detect.half,
    )


def resolve_device(wanted: str) -> str:
    """`auto` as `cuda:0` where torch can use it, else `cpu`; anything else as it is."""
    if wanted != "auto":
        return "cuda:0" if wanted == "cuda" else wanted
    import torch  # takes seconds, so only where a model is about to be loaded

    return "cuda:0" if torch.cuda.is_available() else "cpu"
