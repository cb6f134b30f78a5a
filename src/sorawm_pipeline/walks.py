"""A clip's way through a corridor, all of it in one go: run, watched, told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from sorawm_pipeline.engine import Corridor, CorridorSnapshot, OwnerThread, Stage
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.job import ClipJob, Stages
from sorawm_pipeline.report import (
    DecoderReport,
    DetectorReport,
    InpainterReport,
    LiveReport,
    PartReport,
    PiecesReport,
    QueueReport,
    SpliceReport,
    StageReport,
    TriedEncoder,
)
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.stages.encode import Encode
from sorawm_pipeline.vision.detector import Detector, NoDetector
from sorawm_pipeline.vision.restore import Inpainter
from sorawm_pipeline.vision.runs import Runs
from sorawm_pipeline.warm import Lent, WarmDetector

ON_OWNER = "detect"
"""The stage that runs on the thread its model was loaded on."""


class Walk(Protocol):
    """How a clip is brought from its source to an unpublished file.

    Attributes:
        gpu: the newest reading of the GPU in use, None without one.
        consumed: frames that have come out so far.
    """

    @property
    def gpu(self) -> Callable[[], Gpu | None]: ...

    @property
    def consumed(self) -> int: ...

    @property
    def corridor(self) -> CorridorSnapshot | None:
        """The corridor that is walked now; None before the first."""
        ...

    @property
    def pieces(self) -> PiecesReport | None:
        """How it was done in pieces, if it was."""
        ...

    @property
    def batch_caps(self) -> Mapping[str, int]: ...

    @property
    def runs(self) -> Runs:
        """The marks that were found so far."""
        ...

    @property
    def left_out(self) -> Sequence[str]:
        """In words, what of the source the file does not have."""
        ...

    @property
    def splice(self) -> SpliceReport | None: ...

    def part(self) -> PartReport:
        """What was done so far."""
        ...


def corridor_of(
    source: Decode,
    stages: Sequence[Stage[Any, Any]],
    capacity: int | Sequence[int],
    warm: WarmDetector,
    on_consumed: Callable[[int], None] | None,
) -> Corridor:
    """A corridor in which what needs a loaded model runs on its thread."""
    return Corridor(
        source,
        stages,
        capacity=capacity,
        thread_factory=lambda name: Lent(warm.owner) if name == ON_OWNER else OwnerThread(name),
        on_consumed=on_consumed,
    )


class CorridorWalk:
    """One corridor from decode to encode, or to what collects the marks."""

    def __init__(
        self,
        job: ClipJob,
        stages: Stages,
        warm: WarmDetector,
        on_consumed: Callable[[int], None],
        pieces: PiecesReport | None = None,
    ) -> None:
        self._pieces = pieces
        self._job = job
        self._stages = stages
        self._detector = warm.detector
        self.gpu = warm.gpu
        self._corridor = corridor_of(
            stages.decode, stages.after_decode, stages.capacities, warm, on_consumed
        )

    async def run(self) -> None:
        """Raises as `Corridor.run`."""
        await self._corridor.run()

    @property
    def pieces(self) -> PiecesReport | None:
        return self._pieces

    @property
    def corridor(self) -> CorridorSnapshot:
        return self._corridor.snapshot()

    @property
    def consumed(self) -> int:
        return self._corridor.snapshot().consumed

    @property
    def batch_caps(self) -> Mapping[str, int]:
        return {stage.name: stage.cap() for stage in self._stages.after_decode}

    @property
    def runs(self) -> Runs:
        return self._stages.detect.runs

    @property
    def left_out(self) -> Sequence[str]:
        last = self._stages.last
        return last.streams_left_out if isinstance(last, Encode) else ()

    @property
    def splice(self) -> SpliceReport | None:
        last = self._stages.last
        if not isinstance(last, Encode):
            return None
        if last.spliced is None:
            return SpliceReport(reason=self._job.whole)
        done = last.spliced
        return SpliceReport(
            gops=done.gops, copied_gops=done.copied_gops, copied_frames=done.copied_frames
        )

    def part(self) -> PartReport:
        stages = self._stages
        return part_report(
            self.corridor,
            self._job,
            detector=detector_report(self._detector, stages.detect.frames_inferred),
            not_kept=stages.detect.not_kept,
            inpainter=inpainter_report(self._job.config.inpaint.method, stages.inpainter),
            encoded=stages.last.frames_encoded if isinstance(stages.last, Encode) else 0,
        )


def part_report(
    corridor: CorridorSnapshot,
    job: ClipJob,
    *,
    detector: DetectorReport | None = None,
    inpainter: InpainterReport | None = None,
    encoded: int = 0,
    not_kept: str | None = None,
) -> PartReport:
    """What a corridor did; `not_kept` is why pictures on a GPU were not used there."""
    not_kept = not_kept or job.not_kept or None
    return PartReport(
        decoded=corridor.stages[Decode.name].items,
        encoded=encoded,
        decoder=DecoderReport(
            device=job.accelerator,
            kept_on_device=job.kept_on is not None and not_kept is None,
            not_kept=not_kept if job.accelerator is not None else None,
            tried=tuple(TriedEncoder(codec=name, error=why) for name, why in job.devices_tried),
        ),
        detector=detector,
        inpainter=inpainter,
        stages={name: StageReport(**asdict(stage)) for name, stage in corridor.stages.items()},
        queues={
            name: QueueReport(capacity=queue.capacity, peak=queue.peak)
            for name, queue in corridor.queues.items()
        },
        live_frames=LiveReport(bound=corridor.live.bound, peak=corridor.live.peak),
    )


def detector_report(detector: Detector | NoDetector, frames_inferred: int) -> DetectorReport:
    return DetectorReport(
        frames_inferred=frames_inferred,
        runtime=detector.runtime,
        device=detector.device,
        weights_sha256=detector.weights_sha256,
        fallback=detector.fallback,
        precision=detector.precision,
    )


def inpainter_report(method: str, inpainter: Inpainter | None) -> InpainterReport:
    """Of one that is asked for by a name; None fills nothing."""
    if inpainter is None:
        return InpainterReport(method=method, runtime="none", device="cpu")
    return InpainterReport(
        method=inpainter.method,
        runtime=inpainter.runtime,
        device=inpainter.device,
        precision=getattr(inpainter, "precision", None),
        weights_sha256=inpainter.weights_sha256,
        fallback=getattr(inpainter, "fallback", None),
    )
