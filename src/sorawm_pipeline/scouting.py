"""A clip's shortest way: its key frames are looked at, and where they show nothing it is copied."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from sorawm_pipeline.engine import Owner
from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.media import provenance
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.report import (
    DecoderReport,
    PartReport,
    ScoutReport,
    SpliceReport,
    StageReport,
)
from sorawm_pipeline.stages.scout import Doubt, Scout
from sorawm_pipeline.stages.whole_copy import WholeCopy
from sorawm_pipeline.vision.runs import Runs
from sorawm_pipeline.walks import detector_report, inpainter_report
from sorawm_pipeline.warm import WarmDetector

TOGETHER = 4
"""Pictures that are looked at in one call, at most."""

GENERATED = "lgorithmicMedia"
"""How the terms for pictures of which a trained model made all or some end."""

log = get_logger(__name__)


def may_scout(job: ClipJob) -> bool:
    """Whether key frames may tell that a prepared clip is without a mark, and it can be copied.

    How long a mark stays is known of the built-in detector's only. A clip that says it was
    generated is likely to have one, so a first look would be in vain.
    """
    detect = job.config.detect
    if job.target is None or job.settings.gops is None or job.left:
        return False
    if detect.scout == "off" or detect.weights != "builtin" or detect.regions or detect.stride == 1:
        return False
    return not (job.origin.digital_source_type or "").endswith(GENERATED)


class ScoutWalk:
    """Looks at key frames; copies the clip if they show nothing.

    Args:
        job: prepared, and `may_scout`.
        warm: lent until `run` returns.
        on_consumed: called on the event loop with the number of frames that are copied.
    """

    corridor = None
    pieces = None

    def __init__(
        self, job: ClipJob, warm: WarmDetector, on_consumed: Callable[[int], None]
    ) -> None:
        self._job = job
        self._warm = warm
        self._detector = warm.detector
        self._tell = on_consumed
        self._scout: Scout | None = None
        self._copy: WholeCopy | None = None
        self._stages: dict[str, StageReport] = {}
        self.gpu = warm.gpu
        self.runs = Runs()
        self.batch_caps: Mapping[str, int] = {}

    async def run(self, thread: Owner) -> ScoutReport:
        """Look, on the detector's thread, and copy, on the clip's.

        Raises:
            PipelineError: the clip cannot be read, or the disk refuses.
        """
        try:
            scout = await self._look()
            await self._write(thread)
        except (Doubt, Unfit) as doubt:
            log.info("the whole clip is searched", reason=str(doubt))
            await thread.call(self._job.discard)
            return ScoutReport(copied=False, frames_inferred=self._looks, reason=str(doubt))
        return ScoutReport(copied=True, frames_inferred=self._looks, reason=self._basis(scout))

    def _basis(self, scout: Scout) -> str:
        """In words, what a clip is called clean by."""
        basis = (
            f"no mark on key frames, {scout.longest_s:.2f} s apart at most, nor on the last picture"
        )
        if scout.searched:
            basis += f"; {scout.searched} pictures around doubtful ones were searched"
        return basis

    async def _look(self) -> Scout:
        job, warm = self._job, self._warm
        room = job.room(warm, None)
        cap = warm.batch_cap(min(TOGETHER, room.detect_batch), job.config.detect.batch)
        scout = self._scout = Scout(
            job.clip,
            job.limits,
            warm.detector,
            cap,
            warm.believe,
            partial(job.detect, warm, room),
        )
        try:
            await warm.owner.call(scout.open)
            while await warm.owner.call(self._timed, "scout", scout.step):
                pass
        finally:
            await warm.owner.call(scout.close)
        return scout

    async def _write(self, thread: Owner) -> None:
        job = self._job
        assert job.target is not None
        assert job.settings.gops is not None
        edit = replace(
            job.edit,
            description="picture copied; visible overlay marks looked for on key frames, none seen",
        )
        tags = provenance.container_tags(job.origin, edit, job.origin.digital_source_type)
        settings = replace(job.settings, tags=tags)
        copy = self._copy = WholeCopy(
            job.clip, job.limits, job.target.temporary, settings, job.settings.gops
        )
        try:
            await thread.call(copy.open)
            while await thread.call(self._timed, "copy", copy.step):
                self._tell(self.consumed)
        finally:
            await thread.call(copy.close)
        job.edit = edit

    def _timed(self, name: str, step: Callable[[], bool]) -> bool:
        started = time.perf_counter()
        more = step()
        done = StageReport(batches=1, busy_s=time.perf_counter() - started)
        self._stages[name] = self._stages.get(name, StageReport()).plus(done)
        return more

    @property
    def _looks(self) -> int:
        return 0 if self._scout is None else self._scout.looks

    @property
    def consumed(self) -> int:
        return 0 if self._copy is None else self._copy.done.copied_frames

    @property
    def left_out(self) -> Sequence[str]:
        return () if self._copy is None else self._copy.left_out

    @property
    def splice(self) -> SpliceReport | None:
        if self._copy is None:
            return None
        done = self._copy.done
        return SpliceReport(
            gops=done.gops, copied_gops=done.copied_gops, copied_frames=done.copied_frames
        )

    def part(self) -> PartReport:
        items = {"scout": self._looks, "copy": self.consumed}
        return PartReport(
            decoded=0 if self._scout is None else self._scout.decoded,
            encoded=self.consumed,
            decoder=DecoderReport(),
            detector=detector_report(self._detector, self._looks),
            inpainter=inpainter_report(self._job.config.inpaint.method, None),
            stages={
                name: stage.model_copy(update={"items": items[name]})
                for name, stage in self._stages.items()
            },
        )
