"""A clip's way through its pieces, by one process or several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sorawm_pipeline.engine import CorridorSnapshot, Owner
from sorawm_pipeline.hardware.gpu import Gpu
from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.timeline import Timeline, read_timeline
from sorawm_pipeline.readings import no_gpu
from sorawm_pipeline.report import PartReport, PiecesReport, SpliceReport
from sorawm_pipeline.segments.joining import join
from sorawm_pipeline.segments.pieces import PieceWork, Plan, Task, Watch
from sorawm_pipeline.segments.plan import Piece, Reach, cut
from sorawm_pipeline.segments.row import Row
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.vision.runs import Runs
from sorawm_pipeline.warm import WarmDetectors


class Crew(Protocol):
    """Those who do the tasks of a clip.

    Attributes:
        slots: how many tasks they do at once.
        watch: what can be seen of their work from here.
    """

    slots: int
    watch: Watch

    async def do(self, task: Task) -> None:
        """Do a task; its result is in the store afterwards. May be called `slots` times at once.

        Raises:
            PipelineError: whatever went wrong.
            Unfit: parts of this clip cannot be done alone.
        """
        ...


class Alone:
    """A crew of one: this process."""

    slots = 1

    def __init__(
        self, work: PieceWork, detectors: WarmDetectors, thread: Owner, watch: Watch
    ) -> None:
        self._work = work
        self._detectors = detectors
        self._thread = thread
        self.watch = watch

    async def do(self, task: Task) -> None:
        async with self._detectors.borrow() as warm:
            await self._work.do(task, warm, self._thread, self.watch)


def planned(job: ClipJob, length_s: float) -> tuple[Plan, list[Piece]]:
    """How a prepared clip is cut. Reads all packets; blocks.

    Raises:
        Unfit: it is done in one go, and why.
        InputError: it cannot be read.
    """
    timeline: Timeline = read_timeline(job.clip, job.limits)
    pieces = cut(timeline, job.settings.gops, job.clip.time_base, length_s)
    if len(pieces) < 2:
        raise Unfit("it has no key frames to be cut at")
    if job.settings.counts:
        raise Unfit(f"what {job.settings.choice.encoder} writes cannot be joined")
    return Plan(job.settings, timeline, job.accelerator, job.left), pieces


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
        self._tell = on_consumed
        reach = Reach(job.window, together)
        self._row = Row(job, plan, pieces, store, reach, crew.slots)
        self._changed = asyncio.Condition()
        self._error: BaseException | None = None
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
                await self._crew.do(task)
                async with self._changed:
                    await thread.call(self._row.finished, task)
                    self._changed.notify_all()
                self._tell(self.consumed)
        except Exception as error:
            self._error = self._error or error

    async def _next(self, thread: Owner) -> Task | None:
        async with self._changed:
            while not self._row.done:
                task = await thread.call(self._row.next)
                if task is not None:
                    return task
                if not self._row.done:
                    await self._changed.wait()
            self._changed.notify_all()
            return None

    @property
    def gpu(self) -> Callable[[], Gpu | None]:
        return no_gpu

    @property
    def consumed(self) -> int:
        return self._row.frames

    @property
    def corridor(self) -> CorridorSnapshot | None:
        return self._crew.watch.corridor

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
