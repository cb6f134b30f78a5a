"""A clip's way through its pieces, by one process or several."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path

from sorawm_pipeline.engine import CorridorSnapshot, Owner, OwnerThread
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.timeline import Timeline, read_timeline
from sorawm_pipeline.readings import no_gpu
from sorawm_pipeline.report import PartReport, PiecesReport, SpliceReport
from sorawm_pipeline.scheduling import Limits, Step
from sorawm_pipeline.segments.dispatch import Dispatch, PiecedClip, serving
from sorawm_pipeline.segments.joining import join
from sorawm_pipeline.segments.orders import Place
from sorawm_pipeline.segments.pieces import PieceWork, Plan, Task, Watch
from sorawm_pipeline.segments.plan import Piece, Reach, cut
from sorawm_pipeline.segments.row import Row
from sorawm_pipeline.segments.store import FORMS, QUALITY, Store, key_of
from sorawm_pipeline.snapshot import dumped
from sorawm_pipeline.vision.runs import Runs
from sorawm_pipeline.warm import WarmDetector

Corridors = Callable[[], CorridorSnapshot | None]


def _unseen() -> None:
    """The corridors are elsewhere."""


class _Own:
    """This process as a hand for one of the steps, of one clip."""

    alive = True

    def __init__(self, work: PieceWork, warm: WarmDetector, step: Step) -> None:
        self.steps = (step,)
        self.watch = Watch()
        self._work = work
        self._warm = warm
        self._thread = OwnerThread(step.name.lower())

    async def do(self, _: Place, task: Task, tell: Callable[[int], None]) -> None:
        self.watch.tell = tell
        await self._work.do(task, self._warm, self._thread, self.watch)

    async def close(self) -> None:
        await self._thread.stop()


@asynccontextmanager
async def alone(work: PieceWork, warm: WarmDetector) -> AsyncIterator[tuple[Dispatch, Corridors]]:
    """This process does the pieces of a clip: it finds one while it restores another.

    Args:
        work: of the clip.
        warm: what is used to look and to fill.

    Yields:
        What gives it the pieces, and where the corridor at work can be seen.
    """
    finder, restorer = _Own(work, warm, Step.FIND), _Own(work, warm, Step.RESTORE)
    dispatch = Dispatch(Limits(tries=2, late=inf))
    try:
        async with serving(dispatch.serve(hand) for hand in (finder, restorer)):
            yield dispatch, lambda: restorer.watch.corridor or finder.watch.corridor
    finally:
        dispatch.close()  # for those who help
        await finder.close()
        await restorer.close()


def planned(
    job: ClipJob, length_s: float, warm: WarmDetector, store: Store, *, short: bool = False
) -> tuple[Plan, list[Piece], int]:
    """How a prepared clip is cut, and frames of a mark that are filled at once. Blocks.

    Reads all packets. A clip of one piece is done in one go unless it is `short` on purpose.

    Raises:
        Unfit: it is done in one go, and why.
        InputError: it cannot be read.
    """
    timeline: Timeline = read_timeline(job.clip, job.limits)
    pieces = cut(timeline, job.settings.gops, job.clip.time_base, length_s)
    if len(pieces) < 2 and not short:
        raise Unfit("it has no key frames to be cut at")
    if job.settings.counts:
        raise Unfit(f"what {job.settings.choice.encoder} writes cannot be joined")
    _keep_quality(job, timeline, store)
    forms = store.get(FORMS)
    inpainter = warm.inpainter(job.clip.layout, forms)
    chosen = getattr(inpainter, "forms", None)
    if chosen != forms:
        store.put(FORMS, chosen)
    plan = Plan(job.settings, timeline, job.accelerator, job.left, chosen)
    return plan, pieces, 1 if inpainter is None else inpainter.together


def _keep_quality(job: ClipJob, timeline: Timeline, store: Store) -> None:
    """Encode as finely as an earlier run of the same clip and wishes has chosen.

    The choice rests on trials, and x264 does not always give the same bytes for the same pictures.
    """
    wishes = job.config.encode.model_dump(mode="json")
    choice = [job.settings.choice.encoder, job.settings.muxer]
    name = QUALITY + key_of(timeline.sums.tobytes(), wishes, choice)
    chosen = job.settings.crf, job.settings.most, job.settings.gop
    known = store.get(name)
    if isinstance(known, tuple) and len(known) == len(chosen):
        crf, most, gop = known
        job.settings = replace(job.settings, crf=crf, most=most, gop=gop)
    else:
        store.put(name, chosen)


def offered(source: Path, store: Store, plan: Plan) -> Place:
    """Put what hands need into the store, and tell where it is. Blocks.

    Raises:
        PipelineError: the store refuses.
    """
    name = f"plan-{key_of(dumped(plan))}"
    store.put(name, plan)
    return Place(store.offer(source, key_of(plan.timeline.sums.tobytes())), store, name)


class PiecesWalk:
    """Finds, restores and joins.

    Args:
        job: prepared.
        plan: of its pieces.
        pieces: the row of them.
        place: where the clip and its pieces are; the store is locked by the caller.
        dispatch: has the pieces done.
        together: frames of a mark that the inpainter fills at once.
        thread: for blocking parts.
        on_consumed: called on the event loop with the number of frames that are done.
        corridors: tells which corridor is at work, where that can be seen.
    """

    def __init__(
        self,
        job: ClipJob,
        plan: Plan,
        pieces: list[Piece],
        place: Place,
        dispatch: Dispatch,
        together: int,
        thread: Owner,
        on_consumed: Callable[[int], None],
        corridors: Corridors = _unseen,
    ) -> None:
        self._job = job
        self._plan = plan
        self._store = place.store
        self._dispatch = dispatch
        self._thread = thread
        self._corridors = corridors
        self._row = Row(job, plan, pieces, place.store, Reach(job.config.temporal.window, together))
        self._clip = PiecedClip(self._row, place, thread, lambda: on_consumed(self.consumed))
        self._spliced: SpliceReport | None = None
        self.left_out: Sequence[str] = ()

    async def run(self) -> None:
        """Raises PipelineError, or Unfit: it must be done in one go."""
        await self._dispatch.clean(self._clip)
        file, spliced = await self._thread.call(
            join, self._job, self._plan.timeline, self._store, self._row.names
        )
        self.left_out = file.left_out
        if spliced is not None:
            self._spliced = SpliceReport(
                gops=spliced.gops,
                copied_gops=self._row.copied_groups,
                copied_frames=spliced.copied_frames,
            )

    def rest(self) -> None:
        """Begin no other piece."""
        self._dispatch.rest(self._clip)

    @property
    def gpu(self) -> Callable[[], Gpu | None]:
        return no_gpu

    @property
    def consumed(self) -> int:
        return min(len(self._plan.timeline), self._row.frames + self._clip.frames)

    @property
    def corridor(self) -> CorridorSnapshot | None:
        return self._corridors()

    @property
    def batch_caps(self) -> Mapping[str, int]:
        return {}

    @property
    def runs(self) -> Runs:
        return self._row.runs

    @property
    def splice(self) -> SpliceReport | None:
        return self._spliced or SpliceReport(reason=self._job.whole)

    @property
    def pieces(self) -> PiecesReport | None:
        row = self._row
        return PiecesReport(
            pieces=len(row.pieces), found=row.found, restored=row.restored, reused=row.reused
        )

    def part(self) -> PartReport:
        return self._row.part()
