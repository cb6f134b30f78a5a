"""A clip's way through its pieces, by one process or several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sorawm_pipeline.engine import CorridorSnapshot, Owner, OwnerThread
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.timeline import Timeline, read_timeline
from sorawm_pipeline.readings import no_gpu
from sorawm_pipeline.report import PartReport, PiecesReport, SpliceReport
from sorawm_pipeline.segments.hands import Hands
from sorawm_pipeline.segments.joining import join
from sorawm_pipeline.segments.orders import Order
from sorawm_pipeline.segments.pieces import FindTask, PieceWork, Plan, RestoreTask, Task, Watch
from sorawm_pipeline.segments.plan import Piece, Reach, cut
from sorawm_pipeline.segments.row import Row
from sorawm_pipeline.segments.store import FORMS, QUALITY, Store, key_of
from sorawm_pipeline.snapshot import dumped
from sorawm_pipeline.vision.runs import Runs
from sorawm_pipeline.warm import WarmDetector

FINDING = 0.25
"""What finding the marks of a piece costs beside restoring it."""

RESTED = "rested"
"""Kind of the error of a clip that stopped between two pieces because it was asked to."""

log = get_logger(__name__)


class Crew(Protocol):
    """Those who do the tasks of a clip.

    Attributes:
        slots: how many tasks they do at once.
        restorers: how many of these may restore.
        told: to be called when `frames` has changed; set by whoever gives the tasks.
    """

    slots: int
    restorers: int
    told: Callable[[], None]

    @property
    def frames(self) -> int:
        """Frames of the pieces that are being restored which are done."""
        ...

    @property
    def corridor(self) -> CorridorSnapshot | None:
        """A corridor at work that can be seen from here."""
        ...

    async def do(self, task: Task) -> None:
        """Do a task; its result is in the store afterwards. May be called `slots` times at once.

        Raises:
            PipelineError: whatever went wrong.
            Unfit: parts of this clip cannot be done alone.
        """
        ...

    async def close(self) -> None: ...


def _nobody() -> None:
    """Nobody wants to know."""


class Alone:
    """A crew that is this process: it finds one piece while it restores another.

    Args:
        work: of the clip.
        warm: what is used to look and to fill, for as long as the crew is at work.
    """

    slots, restorers = 2, 1

    def __init__(self, work: PieceWork, warm: WarmDetector) -> None:
        self._work = work
        self._warm = warm
        self._threads = [OwnerThread(f"piece-{number}") for number in range(self.slots)]
        self._watches = {FindTask: Watch(), RestoreTask: Watch(self._count)}
        self._before = self._frames = 0
        self.told: Callable[[], None] = _nobody

    async def do(self, task: Task) -> None:
        thread = self._threads.pop()
        if isinstance(task, RestoreTask):
            self._before, self._frames = task.piece.first - task.around.first, 0
        try:
            await self._work.do(task, self._warm, thread, self._watches[type(task)])
        finally:
            self._threads.append(thread)
            if isinstance(task, RestoreTask):
                self._frames = 0

    @property
    def frames(self) -> int:
        return max(0, self._frames - self._before)

    def _count(self, frames: int) -> None:
        self._frames = frames
        self.told()

    async def close(self) -> None:
        for thread in self._threads:
            await thread.stop()

    @property
    def corridor(self) -> CorridorSnapshot | None:
        watch = self._watches[RestoreTask]
        return watch.corridor or self._watches[FindTask].corridor


class Crewed:
    """A crew whose work is done by hands elsewhere.

    Args:
        hands: which may have other clips too.
        clip: the source, the store, and the name of the plan in it.
        pieces: that it is cut into.
    """

    def __init__(self, hands: Hands, clip: tuple[Path, Store, str], pieces: int) -> None:
        self._hands = hands
        self._ticket = hands.turns.ticket(pieces)
        self._clip = clip
        self._frames: dict[str, int] = {}
        self.slots = self.restorers = hands.slots
        self.corridor = None
        self.told: Callable[[], None] = _nobody

    @property
    def frames(self) -> int:
        return sum(self._frames.values())

    async def close(self) -> None:
        """The hands stay for other clips."""

    async def do(self, task: Task) -> None:
        def tell(frames: int) -> None:
            if isinstance(task, RestoreTask):
                self._frames[task.name] = frames
                self.told()

        frames = task.piece.end - task.piece.first
        cost = frames * (FINDING if isinstance(task, FindTask) else 1.0)
        async with self._hands.turns.turn(self._ticket, cost):
            try:
                answer = await self._hands.do(Order.of(self._clip, task), tell)
            finally:
                self._frames.pop(task.name, None)
        answer.raised()


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


def stored_plan(store: Store, plan: Plan) -> str:
    """Put a plan into the store, for others, and give its name. Blocks."""
    name = f"plan-{key_of(dumped(plan))}"
    store.put(name, plan)
    return name


class PiecesWalk:
    """Finds, restores and joins.

    Args:
        job: prepared.
        plan: of its pieces.
        pieces: the row of them.
        store: where they are kept; it is locked by the caller.
        crew: who does the work.
        together: frames of a mark that the inpainter fills at once.
        on_consumed: called on the event loop with the number of frames that are done.
    """

    def __init__(
        self,
        job: ClipJob,
        plan: Plan,
        pieces: list[Piece],
        store: Store,
        crew: Crew,
        together: int,
        on_consumed: Callable[[int], None],
    ) -> None:
        self._job = job
        self._plan = plan
        self._store = store
        self._crew = crew
        crew.told = lambda: on_consumed(self.consumed)
        self._tell = on_consumed
        reach = Reach(job.window, together)
        self._row = Row(job, plan, pieces, store, reach, crew.restorers)
        self._changed = asyncio.Condition()
        self._error: BaseException | None = None
        self._resting = False
        self._spliced: SpliceReport | None = None
        self.left_out: Sequence[str] = ()

    async def run(self, thread: Owner) -> None:
        """Raises PipelineError, or Unfit: it must be done in one go."""
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work(thread)) for _ in range(self._crew.slots)]
            while not all(worker.done() for worker in workers):
                await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
                if self._error is not None:
                    for worker in workers:
                        worker.cancel()
                    break
        if self._error is not None:
            raise self._error
        if not self._row.done:
            raise PipelineError("it rests; cleaned again, it goes on from there", kind=RESTED)
        file, spliced = await thread.call(
            join, self._job, self._plan.timeline, self._store, self._row.names
        )
        self.left_out = file.left_out
        if spliced is not None:
            self._spliced = SpliceReport(
                gops=spliced.gops,
                copied_gops=self._row.copied_groups,
                copied_frames=spliced.copied_frames,
            )

    async def _work(self, thread: Owner) -> None:
        try:
            while (task := await self._next(thread)) is not None:
                doing = "finding" if isinstance(task, FindTask) else "restoring"
                log.debug("piece", doing=doing, number=task.piece.number)
                await self._crew.do(task)
                async with self._changed:
                    await thread.call(self._row.finished, task)
                    self._changed.notify_all()
                self._tell(self.consumed)
        except Exception as error:
            self._error = self._error or error

    async def _next(self, thread: Owner) -> Task | None:
        async with self._changed:
            while not self._row.done and not self._resting:
                task = await thread.call(self._row.next)
                if task is not None:
                    return task
                if not self._row.done:
                    await self._changed.wait()
            self._changed.notify_all()
            return None

    def rest(self) -> None:
        """Begin no other piece."""
        self._resting = True

    @property
    def gpu(self) -> Callable[[], Gpu | None]:
        return no_gpu

    @property
    def consumed(self) -> int:
        return min(len(self._plan.timeline), self._row.frames + self._crew.frames)

    @property
    def corridor(self) -> CorridorSnapshot | None:
        return self._crew.corridor

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
