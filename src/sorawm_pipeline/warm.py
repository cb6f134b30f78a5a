"""Detectors that stay loaded between clips, each on the one thread that may use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import Owner, OwnerThread
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import find_weights

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Lent:
    """An owner thread that outlives the corridor it is lent to."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def call(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        return await self._owner.call(fn, *args)

    async def stop(self) -> None:
        """Leave it running for the next clip."""


class WarmDetector:
    """A loaded detector and its thread."""

    def __init__(self, owner: OwnerThread, detector: Detector) -> None:
        self.owner = owner
        self.detector = detector

    @classmethod
    async def load(cls, config: PipelineConfig) -> WarmDetector:
        owner = OwnerThread("detect")
        try:
            return cls(owner, await owner.call(_load, config))
        except BaseException:
            await owner.stop()
            raise

    async def close(self) -> None:
        try:
            await self.owner.call(self.detector.close)
        finally:
            await self.owner.stop()


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
        warm = self._idle.pop() if self._idle else await WarmDetector.load(self._config)
        try:
            yield warm
        finally:
            if self._keep:
                self._idle.append(warm)
            else:
                await warm.close()

    async def close(self) -> None:
        self._keep = False
        while self._idle:
            await self._idle.pop().close()


def _load(config: PipelineConfig) -> Detector:
    device = resolve_device(config.device)
    weights = find_weights(config.detect.weights, device=device)
    return Detector(
        weights,
        device=device,
        confidence=config.detect.confidence,
        image_size=config.detect.image_size,
        half=config.detect.half,
    )


def resolve_device(wanted: str) -> str:
    """`auto` as `cuda:0` where torch can use it, else `cpu`; anything else as it is."""
    if wanted != "auto":
        return "cuda:0" if wanted == "cuda" else wanted
    import torch  # takes seconds, so only where a model is about to be loaded

    return "cuda:0" if torch.cuda.is_available() else "cpu"
