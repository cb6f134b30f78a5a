"""Detectors that stay loaded between clips, each on the one thread that may use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Literal, TypeVar, TypeVarTuple

from sorawm_pipeline.config import DetectConfig, PipelineConfig
from sorawm_pipeline.engine import Owner, OwnerThread
from sorawm_pipeline.hardware.batch_cap import BatchCap, Signals
from sorawm_pipeline.hardware.cores import network_threads, share_cores
from sorawm_pipeline.hardware.gpu import Gpu, GpuSampler, gpu_in_sight
from sorawm_pipeline.hardware.signals import gpu_signals, host_signals
from sorawm_pipeline.media.planes import PixelLayout
from sorawm_pipeline.readings import no_gpu
from sorawm_pipeline.vision.cpu_networks import Precision
from sorawm_pipeline.vision.detector import Detector, NoDetector
from sorawm_pipeline.vision.inpainters import plug_in
from sorawm_pipeline.vision.lama import Lama
from sorawm_pipeline.vision.model_store import pulled_or_path, weights_for
from sorawm_pipeline.vision.restore import PLAIN, Inpainter, plain_inpainter
from sorawm_pipeline.vision.see_through import Networks, SeeThrough, load_networks

Forms = tuple[Precision, Precision]
T = TypeVar("T")
Args = TypeVarTuple("Args")

DOUBTFUL = 0.3
"""Share of the confidence asked for from which a detector reports; tracks decide what counts."""

WORTH_A_TRIAL = 4
"""`detect.stride` up to which faster forms of the detector are tried if left to us: where fewer
frames are looked at, long clips are over before what the trial takes is won back."""

AUTO_START = 8
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

    Attributes:
        gpu: the newest reading of the GPU in use, None without one; may be asked from any thread.
    """

    def __init__(self, owner: Owner, config: PipelineConfig) -> None:
        self.owner = owner
        self._config = config
        self._networks: dict[Forms | None, Networks] = {}
        self.gpu: Callable[[], Gpu | None] = no_gpu
        share_cores()
        self.detector, self.believe = _load(config)
        with ExitStack() as stack:
            stack.callback(self.detector.close)
            self._signals, self._release = self._readings(config, stack)
            self._stack = stack.pop_all()

    def batch_cap(self, size: int, wanted: int | Literal["auto"]) -> BatchCap:
        """A cap of at most `size`: growing as memory allows if `auto` is wanted, else fixed."""
        start = min(size, AUTO_START) if wanted == "auto" else size
        return BatchCap(size, start=start, signals=self._signals, release=self._release)

    def inpainter(self, layout: PixelLayout, forms: Forms | None = None) -> Inpainter | None:
        """The configured inpainter for one clip; its networks stay loaded for the next.

        Args:
            layout: of the clip's pictures.
            forms: of its networks, where another process has chosen them; None: the fastest here.

        Raises:
            ModelError: they cannot be loaded.
        """
        inpaint = self._config.inpaint
        if inpaint.method in PLAIN:
            return plain_inpainter(inpaint.method)
        device = resolve_device(self._config.device)
        if inpaint.method == Lama.method:
            assert inpaint.weights is not None
            return Lama(pulled_or_path(inpaint.weights), layout, device, inpaint.sha256)
        if inpaint.method != SeeThrough.method:
            return plug_in(inpaint, device, layout)
        if forms not in self._networks:
            networks = load_networks(
                device,
                half=inpaint.half,
                compile=inpaint.compile,
                threads=network_threads(),
                forms=forms,
            )
            self._networks = {forms: networks, networks.forms: networks}
        return SeeThrough(self._networks[forms], layout, inpaint.stride)

    def rest(self) -> None:
        """Give the device's cached memory back until the next clip."""
        if self._release is not None:
            self._release()

    def close(self) -> None:
        self._networks = {}
        self._stack.close()
        self.rest()

    def _readings(
        self, config: PipelineConfig, stack: ExitStack
    ) -> tuple[Callable[[], Signals], Callable[[], None] | None]:
        device = self.detector.device
        if not device.startswith("cuda"):
            return host_signals(config.memory.budget), None
        import torch

        sampler = stack.enter_context(GpuSampler())
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        self.gpu = lambda: sampler.snapshot.find(uuid)
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
        """Lend one; what comes back after a failure of its clip is not lent again.

        Raises:
            ModelError, DeviceError: the detector cannot be loaded.
        """
        warm = self._idle.pop() if self._idle else await self._load()
        sound = False
        try:
            yield warm
            sound = True
        except asyncio.CancelledError:
            sound = True
            raise
        finally:
            await self._take_back(warm, sound)

    async def close(self) -> None:
        """Close what is idle now and what comes back later."""
        self._keep = False
        try:
            if self._idle:
                await _close(self._idle.pop())
        finally:
            if self._idle:
                await self.close()

    async def _take_back(self, warm: WarmDetector, sound: bool) -> None:
        kept = False
        try:
            if self._keep and sound:
                await warm.owner.call(warm.rest)
                kept = self._keep  # `close` may have been called meanwhile
        finally:
            if kept:
                self._idle.append(warm)
            else:
                await _close(warm)

    async def _load(self) -> WarmDetector:
        owner = OwnerThread("detect")
        loaded: list[WarmDetector] = []
        try:
            await owner.call(lambda: loaded.append(WarmDetector(owner, self._config)))
        except BaseException:
            try:
                if loaded:  # cancelled while it was loading
                    await owner.call(loaded[0].close)
            finally:
                await owner.stop()
            raise
        return loaded[0]


async def _close(warm: WarmDetector) -> None:
    try:
        await warm.owner.call(warm.close)
    finally:
        await warm.owner.stop()


def _load(config: PipelineConfig) -> tuple[Detector | NoDetector, float]:
    """A detector that reports doubtful sightings too, and the confidence to believe from."""
    if config.detect.weights == "none":
        return NoDetector(), 1.0
    device = resolve_device(config.device)
    weights = weights_for(config.detect, device)
    asked = config.detect.confidence
    believe = weights.confidence if asked is None else asked
    detector = Detector(
        weights,
        device=device,
        confidence=believe * DOUBTFUL,
        image_size=config.detect.image_size,
        half=config.detect.half,
        compile=config.detect.compile,
        threads=network_threads() if config.detect.weights == "builtin" else None,
        tensorrt=config.detect.tensorrt,
        form=_form(config.detect),
    )
    return detector, believe


def _form(wanted: DetectConfig) -> Precision | None:
    """In which form to load the detector on a CPU; None: in the one that wins a trial."""
    if wanted.precision != "auto":
        return wanted.precision
    return None if wanted.stride <= WORTH_A_TRIAL else "fp32"


def resolve_device(wanted: str) -> str:
    """`auto` as `cuda:0` where torch can use it, else `cpu`; anything else as it is."""
    if wanted != "auto":
        return "cuda:0" if wanted == "cuda" else wanted
    if not gpu_in_sight():
        return "cpu"
    import torch  # takes seconds

    return "cuda:0" if torch.cuda.is_available() else "cpu"
