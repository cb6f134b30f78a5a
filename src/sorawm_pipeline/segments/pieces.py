"""The work of one piece: find its marks, or restore it. Any process with the store can do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sorawm_pipeline.budget import Room
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import Corridor, CorridorSnapshot, Owner
from sorawm_pipeline.errors import StageError
from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.media.clip import probe
from sorawm_pipeline.media.packet_store import PacketIndex
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.timeline import Timeline
from sorawm_pipeline.report import PartReport
from sorawm_pipeline.segments.plan import Around, Piece, decoding_times
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.snapshot import loaded, value
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.stages.encode_piece import EncodePiece
from sorawm_pipeline.stages.find import Find
from sorawm_pipeline.stages.picture_encoder import EncodeSettings
from sorawm_pipeline.stages.recall import Recall
from sorawm_pipeline.vision.regions import Regions
from sorawm_pipeline.vision.restore import Inpainter
from sorawm_pipeline.vision.tracks import Marks
from sorawm_pipeline.walks import (
    corridor_of,
    detector_report,
    inpainter_report,
    part_report,
)
from sorawm_pipeline.warm import Forms, WarmDetector


@value
@dataclass(frozen=True, slots=True)
class Plan:
    """What all pieces of a clip have in common.

    Attributes:
        settings: how the result is encoded.
        timeline: of the clip.
        accelerator: the device that decodes, None for software.
        left: by frame, marks that an earlier result had left.
        forms: of the networks that fill, if they have several, so that all pieces are alike.
    """

    settings: EncodeSettings
    timeline: Timeline
    accelerator: str | None
    left: dict[int, Marks]
    forms: Forms | None = None


@value
@dataclass(frozen=True, slots=True)
class FindTask:
    """Find the marks of a piece.

    Attributes:
        name: under which the finds are stored.
        piece: the frames in question.
        first: the frame to go on with.
        after: name of the finds before; None for the clip's first.
        last: whether it is the clip's last piece.
    """

    name: str
    piece: Piece
    first: int
    after: str | None
    last: bool


@value
@dataclass(frozen=True, slots=True)
class RestoreTask:
    """Restore a piece.

    Attributes:
        name: under which its packets are stored.
        piece: the frames that become packets.
        around: the frames that are decoded for it.
        finds: names of what was found in all of these.
        groups: the groups that it consists of, if they may be copied: from, and to before which.
        changed: numbers of those that cannot be, counted from the first of them.
    """

    name: str
    piece: Piece
    around: Around
    finds: tuple[str, ...]
    groups: tuple[int, int] | None
    changed: frozenset[int]


Task = FindTask | RestoreTask


@value
@dataclass(frozen=True, slots=True)
class Found:
    """What a piece's finding gave.

    Attributes:
        first: index of the first frame that is told of; the last few of a piece are the next's.
        marks: of this frame and those after it.
        state: uint8 (n,), what finding goes on from; None at the clip's end.
        next_frame: index of the first frame that was not looked at.
        report: a PartReport as JSON.
    """

    first: int
    marks: list[Marks]
    state: Any
    next_frame: int
    report: str


@value
@dataclass(frozen=True, slots=True)
class Restored:
    """What restoring a piece gave; its packets are in a file of the same name."""

    index: PacketIndex
    report: str


class Watch:
    """Sees the corridors of pieces, one after the other.

    Args:
        on_consumed: called on the event loop with the frames that have come out of the present one.
    """

    def __init__(self, on_consumed: Callable[[int], None] = lambda _: None) -> None:
        self.tell = on_consumed
        self._corridor: Corridor | None = None

    async def walked(self, corridor: Corridor) -> None:
        """Run a corridor; raises what it raises, and Unfit where that is the cause."""
        self._corridor = corridor
        try:
            await corridor.run()
        except StageError as error:
            if isinstance(error.__cause__, Unfit):
                raise error.__cause__ from None
            raise

    @property
    def corridor(self) -> CorridorSnapshot | None:
        """The latest corridor; None before the first."""
        return None if self._corridor is None else self._corridor.snapshot()


class PieceWork:
    """Does tasks of one clip, one at a time.

    Args:
        job: prepared, or `for_plan`.
    """

    def __init__(self, job: ClipJob, plan: Plan, store: Store) -> None:
        self._job = job
        self._plan = plan
        self._store = store

    @classmethod
    def for_plan(cls, config: PipelineConfig, source: Path, plan: Plan, store: Store) -> PieceWork:
        """For a process that has not prepared the clip itself. Blocks.

        Raises:
            InputError: the source cannot be opened any more.
        """
        job = ClipJob(config, source)
        job.clip = probe(source, job.limits)
        job.settings, job.accelerator, job.writes = plan.settings, plan.accelerator, True
        return cls(job, plan, store)

    async def do(self, task: Task, warm: WarmDetector, thread: Owner, watch: Watch) -> None:
        """Do a task and store what it gives.

        Args:
            task: of this clip.
            warm: what is used to look and to fill.
            thread: for blocking parts.
            watch: told of the corridor while it runs.

        Raises:
            PipelineError: whatever went wrong.
            Unfit: parts of this clip cannot be done alone.
        """
        if isinstance(task, FindTask):
            await self._find(task, warm, thread, watch)
        else:
            await self._restore(task, warm, thread, watch)

    async def _find(self, task: FindTask, warm: WarmDetector, thread: Owner, watch: Watch) -> None:
        job, plan = self._job, self._plan
        room = await thread.call(lambda: job.room(warm, self._inpainter(warm)))
        detect, told = await thread.call(self._detect, task, warm, room)
        span = plan.timeline.span(task.first, len(plan.timeline))
        decode = Decode(job.clip, job.limits, plan.accelerator, span)
        find = Find(detect, None if task.last else task.piece.end, decode.stop)
        await watch.walked(corridor_of(decode, [find], room.capacities[0], warm, watch.tell))
        corridor = watch.corridor
        assert corridor is not None
        report = part_report(
            corridor, job, detector=detector_report(warm.detector, find.frames_inferred)
        )
        if not task.last and find.state is None:
            raise Unfit("it ends before its packets say")
        state = None if find.state is None else np.frombuffer(find.state, np.uint8)
        found = Found(told, find.marks, state, find.next_frame, report.model_dump_json())
        await thread.call(self._store.put, task.name, found)

    async def _restore(
        self, task: RestoreTask, warm: WarmDetector, thread: Owner, watch: Watch
    ) -> None:
        job, plan, around = self._job, self._plan, task.around
        inpainter = await thread.call(self._inpainter, warm)
        room = job.room(warm, inpainter)
        draft = await thread.call(self._store.draft)
        encode = EncodePiece(
            job.clip,
            job.limits,
            self._settings(task),
            plan.timeline.span(task.piece.first, task.piece.end),
            task.changed,
            draft,
            room.capacity,
        )
        try:
            if around.first == around.end:
                await thread.call(_run_alone, encode)
                report = PartReport()
            else:
                marks = await thread.call(self._marks, around, task.finds)
                span = plan.timeline.span(around.first, around.end)
                stages = (
                    Recall(around.first, marks, room.capacity),
                    job.inpaint(warm, room, inpainter, around.behind),
                    *job.temporal(room, span),
                    encode,
                )
                decode = Decode(job.clip, job.limits, plan.accelerator, span)
                await watch.walked(corridor_of(decode, stages, room.capacities, warm, watch.tell))
                method, corridor = job.config.inpaint.method, watch.corridor
                assert corridor is not None
                report = part_report(corridor, job, inpainter=inpainter_report(method, inpainter))
            size = task.piece.end - task.piece.first
            report = report.model_copy(update={"encoded": size})
            assert encode.index is not None
            if len(encode.index.pts) != size:
                raise Unfit(f"{size} pictures became {len(encode.index.pts)} packets")
            restored = Restored(encode.index, report.model_dump_json())
            await thread.call(self._store.put, task.name, restored, draft)
        finally:
            await thread.call(lambda: draft.unlink(missing_ok=True))

    def _detect(self, task: FindTask, warm: WarmDetector, room: Room) -> tuple[Detect, int]:
        """The stage as the piece before left it, and the first frame that is not told of yet."""
        detect = self._job.detect(warm, room)
        if task.after is None:
            return detect, 0
        before = self._found(task.after)
        loaded(before.state.tobytes(), into=detect)
        return detect, before.first + len(before.marks)

    def _inpainter(self, warm: WarmDetector) -> Inpainter | None:
        return warm.inpainter(self._job.clip.layout, self._plan.forms)

    def _settings(self, task: RestoreTask) -> EncodeSettings:
        """The clip's, with the groups of the piece alone."""
        gops = self._plan.settings.gops
        if gops is None or task.groups is None:
            return replace(self._plan.settings, gops=None)
        piece = task.piece
        dts = decoding_times(self._plan.timeline, piece.first, piece.end, gops.reorder)
        return replace(self._plan.settings, gops=gops.part(*task.groups, dts))

    def _marks(self, around: Around, finds: Sequence[str]) -> list[Marks]:
        """The marks of the frames around a piece."""
        found = [self._found(name) for name in finds]
        first = found[0].first
        marks = [known for one in found for known in one.marks]
        wanted = marks[around.first - first : around.end - first]
        return with_left(wanted, around.first, self._job, self._plan.left)

    def _found(self, name: str) -> Found:
        found = self._store.get(name)
        if not isinstance(found, Found):
            raise Unfit(f"the finds {name} have disappeared")
        return found


def with_left(
    marks: Sequence[Marks], first: int, job: ClipJob, left: Mapping[int, Marks]
) -> list[Marks]:
    """The marks of frames from `first` on, and those that an earlier result had left."""
    if not left:
        return list(marks)
    regions = Regions((), job.clip.display, job.clip.time_base, left)
    return [regions.added(index, 0, known) for index, known in enumerate(marks, start=first)]


def _run_alone(encode: EncodePiece) -> None:
    """What copies all of a piece needs no frames."""
    try:
        encode.open()
        encode.flush()
    finally:
        encode.close()
