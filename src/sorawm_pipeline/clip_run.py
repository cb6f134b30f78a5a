"""One clip on its way through the corridor: awaited, measured, reported."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import Owner, OwnerThread
from sorawm_pipeline.errors import InputError, PipelineError, StageError
from sorawm_pipeline.hardware.memory import peak_rss
from sorawm_pipeline.job import ClipJob, mark_reports
from sorawm_pipeline.logs import bound, get_logger
from sorawm_pipeline.media.frame import Mark
from sorawm_pipeline.media.hardware_encoders import HARDWARE
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.provenance import ProvenanceReport
from sorawm_pipeline.readings import Reading, told
from sorawm_pipeline.report import (
    ClipReport,
    DetectReport,
    EncoderReport,
    ErrorReport,
    FramesReport,
    MarkReport,
    PiecesReport,
    ScoutReport,
    Status,
    TriedEncoder,
    VerifyReport,
    readable,
)
from sorawm_pipeline.report import ProvenanceReport as ProvenanceSummary
from sorawm_pipeline.scouting import ScoutWalk, may_scout
from sorawm_pipeline.segments.dispatch import Dispatch
from sorawm_pipeline.segments.hands import Hands
from sorawm_pipeline.segments.object_store import ObjectStore
from sorawm_pipeline.segments.pieces import PieceWork
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.segments.walk import PiecesWalk, alone, offered, planned
from sorawm_pipeline.stages.collect import Collect
from sorawm_pipeline.stages.decode import HardwareDecoderError
from sorawm_pipeline.stages.encode import Encode, HardwareEncoderError
from sorawm_pipeline.vision.tracks import Marks
from sorawm_pipeline.walks import CorridorWalk, Walk
from sorawm_pipeline.warm import WarmDetectors

PROGRESS_INTERVAL_S = 0.1
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one clip has got.

    Attributes:
        clip: the input.
        frames: frames encoded (by `detect`: looked at).
        frames_expected: what the container claims, or None.
        fps: frames per second so far.
        stage: name of the stage that computes most of the time, the bottleneck.
        eta_s: seconds left by that rate, or None.
        report: the clip's report in its last event, else None.
    """

    clip: Path
    frames: int
    frames_expected: int | None
    fps: float
    stage: str
    eta_s: float | None
    report: ClipReport | None = None


ProgressCallback = Callable[[Progress], None]


class ClipRun:
    """One clip on its way: awaits its job's blocking parts and its corridor, and measures.

    Attributes:
        own: gives the pieces of the clip to this process, where others may help; else None.
    """

    def __init__(
        self,
        config: PipelineConfig,
        source: Path,
        on_progress: ProgressCallback | None,
    ) -> None:
        self._config = config
        self._source = source
        self._on_progress = on_progress
        self.own: Dispatch | None = None
        self._hands: Hands | None = None
        self._job = ClipJob(config, source)
        self._started = time.perf_counter()
        self._startup_s = 0.0
        self._told = 0.0
        self._walk: Walk | None = None
        self._collected: Collect
        self._verification: VerifyReport | None = None
        self._sealed: ProvenanceReport | None = None
        self._phase = "preparing"
        self._again: ClipRun | None = None
        self._store: Store | None = None
        self._in_one_go: PiecesReport | None = None
        self._scout: ScoutReport | None = None

    async def clean(
        self,
        output: Path,
        overwrite: bool,
        detectors: WarmDetectors,
        hands: Hands | None = None,
    ) -> ClipReport:
        """Clean the clip and publish the result.

        Args:
            output: the result's file.
            overwrite: whether it may replace another.
            detectors: to borrow one from.
            hands: who does the pieces of a long clip; None: this process.

        Raises:
            PipelineError: whatever went wrong; `report` then tells how far it got.
        """
        self._hands = hands
        async with self._thread() as thread:
            await thread.call(partial(self._job.prepare, output, overwrite=overwrite))
            try:
                await self._walked(detectors, thread)
            except InputError:
                # Nothing that is done helps with this source.
                if self._store is not None:
                    await thread.call(self._store.remove)
                raise
            if self._config.verify:
                await self._verify(detectors, thread)
            self._phase = "finishing"
            assert self._walk is not None
            self._sealed = await thread.call(self._job.seal, self._walk.runs)
            await thread.call(self._job.publish)
            if self._store is not None:
                await thread.call(self._store.remove)
            report = self.report("done")
            self._log_done(report)
            return report

    async def _verify(self, detectors: WarmDetectors, thread: Owner) -> None:
        """Look at the result, and clean the clip once more if it still shows a mark."""
        left, marks = await self._residual(detectors)
        self._verification = VerifyReport(residual_frames=len(left), residual_marks=marks)
        if not left or not self._job.removes:
            return
        log.info("marks are left; cleaning once more", frames=len(left))
        self._job.left = left
        await thread.call(self._job.discard)
        await self._walked(detectors, thread)
        _, marks = await self._residual(detectors)
        self._verification = VerifyReport(
            residual_frames=len(left), repaired=True, residual_marks=marks
        )

    async def _residual(
        self, detectors: WarmDetectors
    ) -> tuple[dict[int, Marks], tuple[MarkReport, ...]]:
        """What a detector sees in the unpublished result, in its stored pixels, by frame index."""
        assert self._job.target is not None
        detect = self._config.detect.model_copy(update={"regions": ()})
        again = ClipRun(
            self._config.model_copy(update={"detect": detect}), self._job.target.temporary, None
        )
        self._again = again
        found = await again.look(detectors)
        self._again = None
        self._startup_s += again._startup_s
        display = self._job.clip.display
        shown = display.shown_width, display.shown_height
        left: dict[int, Marks] = {}
        for frame in found.frames:
            for mark in frame.marks:
                box = display.to_stored_box(mark.box, shown)
                left.setdefault(frame.index, []).append(Mark(box, mark.confidence, filled=True))
        assert again._walk is not None
        return left, mark_reports(again._job.clip, again._walk.runs.all())

    async def look(self, detectors: WarmDetectors) -> DetectReport:
        """Find the clip's marks; nothing is written. Raises as `clean`."""
        async with self._thread() as thread:
            await thread.call(partial(self._job.prepare, None, overwrite=False))
            await self._walked(detectors, thread)
        assert self._walk is not None
        detector = self._walk.part().detector
        assert detector is not None
        display = self._job.clip.display
        return DetectReport(
            input=str(self._source),
            width=display.shown_width,
            height=display.shown_height,
            frames_inferred=detector.frames_inferred,
            frames=tuple(self._collected.frames),
        )

    @asynccontextmanager
    async def _thread(self) -> AsyncIterator[OwnerThread]:
        """A thread for the job's blocking parts; whatever fails becomes a PipelineError."""
        thread = OwnerThread("clip")
        with bound(clip=str(self._source)):
            try:
                yield thread
            except PipelineError as error:
                _log_failed(error)
                raise
            except Exception as error:
                told = PipelineError(f"{type(error).__name__}: {error}")
                _log_failed(told)
                raise told from error
            finally:
                try:
                    await thread.call(self._job.discard)
                finally:
                    await thread.stop()

    async def _walked(self, detectors: WarmDetectors, thread: Owner) -> None:
        """Bring the clip to the unpublished file; begin again in a plainer way where need be."""
        try:
            await self._walk_once(detectors, thread)
        except HardwareEncoderError as error:
            log.warning("encoding goes on in software", reason=error.message)
            await thread.call(self._job.encode_in_software, error.message)
            await self._walked(detectors, thread)
        except HardwareDecoderError as error:
            log.warning("decoding goes on in software", reason=error.message)
            await thread.call(self._job.decode_in_software, error.message)
            await self._walked(detectors, thread)
        except StageError as error:
            if not isinstance(error.__cause__, Unfit):
                raise
            log.info("packets cannot be copied; all is encoded", reason=str(error.__cause__))
            await thread.call(self._job.encode_all, str(error.__cause__))
            await self._walked(detectors, thread)

    async def _walk_once(self, detectors: WarmDetectors, thread: Owner) -> None:
        self._log_opened()
        if self._scout is None and may_scout(self._job):
            self._scout = await self._walk_scout(detectors, thread)
            if self._scout.copied:
                return
        if self._is_long and self._in_one_go is None:
            await thread.call(self._job.settled)
            try:
                await self._walk_pieces(detectors, thread)
                return
            except Unfit as reason:
                log.info("the clip is not done in pieces", reason=str(reason))
                self._in_one_go = PiecesReport(reason=str(reason))
                await thread.call(self._job.discard)
        await self._walk_corridor(detectors, thread)

    async def _walk_scout(self, detectors: WarmDetectors, thread: Owner) -> ScoutReport:
        asked = time.perf_counter()
        async with detectors.borrow() as warm:
            self._startup_s += time.perf_counter() - asked
            self._phase = "cleaning"
            self._walk = walk = ScoutWalk(self._job, warm, self._tell)
            with told(self.reading):
                return await walk.run(thread)

    @property
    def _is_long(self) -> bool:
        """Whether it is written, and so long that pieces are worth it, or done elsewhere anyway."""
        wanted, seconds = self._config.pieces, self._job.clip.seconds_claimed
        if self._hands is not None and self._hands.every_clip and wanted.length_s > 0:
            return self._job.target is not None
        long = wanted.length_s > 0 and (seconds or 0.0) >= max(wanted.from_s, 2 * wanted.length_s)
        return self._job.target is not None and long

    async def _walk_pieces(self, detectors: WarmDetectors, thread: Owner) -> None:
        assert self._job.target is not None
        output, root = self._job.target.path, None if self._hands is None else self._hands.store
        store = Store.beside(output) if root is None else ObjectStore.of_result(output, root)
        self._store = store
        with store.locked():
            asked = time.perf_counter()
            length_s = self._config.pieces.length_s
            async with detectors.borrow() as warm:
                short = self._hands is not None and self._hands.every_clip
                plan, pieces, together = await thread.call(
                    partial(planned, self._job, length_s, warm, store, short=short)
                )
                place = await thread.call(offered, self._job.clip.path, store, plan)
                self._startup_s += time.perf_counter() - asked
                self._phase = "cleaning"
                walked = partial(PiecesWalk, self._job, plan, pieces, place)
                rest = together, thread, self._tell
                if self._hands is not None:
                    await self._walk_row(walked(self._hands.dispatch, *rest))
                    return
                async with alone(PieceWork(self._job, plan, store), warm) as (own, corridors):
                    self.own = own
                    try:
                        await self._walk_row(walked(own, *rest, corridors))
                    finally:
                        self.own = None

    async def _walk_row(self, walk: PiecesWalk) -> None:
        self._walk = walk
        with told(self.reading):
            await walk.run()

    async def _walk_corridor(self, detectors: WarmDetectors, thread: Owner) -> None:
        asked = time.perf_counter()
        async with detectors.borrow() as warm:
            stages = await thread.call(self._job.stages, warm)
            self._startup_s += time.perf_counter() - asked
            self._phase = "cleaning"
            if isinstance(stages.last, Collect):
                self._collected = stages.last
            self._walk = walk = CorridorWalk(self._job, stages, warm, self._tell, self._in_one_go)
            with told(self.reading):
                await walk.run()

    def _log_opened(self) -> None:
        clip = self._job.clip
        log.info(
            "opened",
            codec=clip.codec,
            size=f"{clip.width}x{clip.height}",
            pixels=clip.pixel_format,
            frames=clip.frames_claimed or None,
        )

    @property
    def _wall_s(self) -> float:
        """Seconds since the clip was opened, loading models not counted."""
        return time.perf_counter() - self._started - self._startup_s

    def _tell(self, frames: int) -> None:
        assert self._walk is not None
        now = time.perf_counter()
        if self._on_progress is None or now - self._told < PROGRESS_INTERVAL_S:
            return
        self._told = now
        corridor = self._walk.corridor
        busy = {name: stage.busy_s for name, stage in corridor.stages.items()} if corridor else {}
        expected = self._job.clip.frames_claimed or None
        fps = frames / self._wall_s
        left = (expected - frames) / fps if fps and expected and expected >= frames else None
        stage = max(busy, key=busy.__getitem__, default=Encode.name)
        self._on_progress(Progress(self._source, frames, expected, fps, stage, left))

    def reading(self) -> Reading:
        """How it is doing at this moment."""
        if self._again is not None:
            return replace(self._again.reading(), phase="verifying")
        walk = self._walk
        if walk is None:
            return Reading(self._phase)
        return Reading(
            phase=self._phase,
            frames=walk.consumed,
            frames_expected=self._job.clip.frames_claimed or None,
            fps=walk.consumed / max(self._wall_s, 1e-9),
            corridor=walk.corridor,
            batch_caps=walk.batch_caps,
            gpu=walk.gpu(),
            in_pieces=isinstance(walk, PiecesWalk) and self._phase == "cleaning",
        )

    def rest(self) -> None:
        """Stop when the pieces at work are done, if it is done in pieces."""
        if isinstance(self._walk, PiecesWalk):
            self._walk.rest()

    def report(self, status: Status, error: PipelineError | None = None) -> ClipReport:
        """What became of the clip; how far it got, if it failed."""
        report = ClipReport(
            input=str(self._source),
            status=status,
            error=None if error is None else ErrorReport.of(error),
            startup_s=self._startup_s,
            wall_s=self._wall_s,
            peak_rss_bytes=peak_rss(),
        )
        if self._walk is not None:
            report = report.model_copy(update=self._measured(self._walk))
        if self._sealed is not None and status == "done":
            report = report.model_copy(update=self._published(self._sealed))
        return report

    def _measured(self, walk: Walk) -> dict[str, object]:
        job, part = self._job, walk.part()
        encoder = None
        if job.target is not None:
            encoder = EncoderReport(
                codec=job.settings.choice.encoder,
                hardware=job.settings.choice.encoder in HARDWARE,
                tried=tuple(TriedEncoder(codec=name, error=why) for name, why in job.tried),
                left_out=tuple(walk.left_out),
                splice=walk.splice,
            )
        return {
            "frames": FramesReport(
                decoded=part.decoded, encoded=part.encoded, marked=walk.runs.marked_frames
            ),
            "fps": part.encoded / self._wall_s,
            "decoder": part.decoder,
            "detector": part.detector,
            "scout": self._scout,
            "inpainter": part.inpainter,
            "encoder": encoder,
            "marks": mark_reports(job.clip, walk.runs.all()),
            "stages": part.stages,
            "queues": part.queues,
            "verification": self._verification,
            "live_frames": part.live_frames,
            "pieces": walk.pieces,
        }

    def _published(self, sealed: ProvenanceReport) -> dict[str, object]:
        assert self._job.target is not None
        return {
            "output": readable(self._job.target.path),
            "provenance": ProvenanceSummary(
                source_manifest=sealed.source_manifest,
                signed=sealed.signed,
                digital_source_type=sealed.digital_source_type,
                basis=sealed.basis,
                source_validation=sealed.validation,
                source_issues=sealed.validation_issues,
                source_hashes_hold=sealed.hashes_hold,
                note=sealed.note,
            ),
        }

    def _log_done(self, report: ClipReport) -> None:
        assert self._walk is not None
        for name, stage in report.stages.items():
            log.debug("stage", stage=name, **stage.model_dump())
        for left_out in self._walk.left_out:
            log.warning("not carried over", stage=Encode.name, what=left_out)
        if self._sealed is not None and self._sealed.note:
            log.info("provenance", note=self._sealed.note)
        log.info(
            "done",
            output=report.output,
            frames=report.frames.encoded,
            marked=report.frames.marked,
            fps=round(report.fps, 1),
        )


def _log_failed(error: PipelineError) -> None:
    stage = {} if error.stage is None else {"stage": error.stage}
    log.info("failed", kind=error.kind, reason=error.message, **stage)
