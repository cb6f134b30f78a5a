"""Gives the pieces of clips to hands, as the policy of `scheduling` says.

All of it belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from sorawm_pipeline import scheduling
from sorawm_pipeline.engine import Owner, outlast
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.scheduling import Assignment, Ended, Limits, Scheduler, Step
from sorawm_pipeline.segments.orders import Place
from sorawm_pipeline.segments.pieces import RestoreTask, Task
from sorawm_pipeline.segments.row import Row
from sorawm_pipeline.stages.decode import HardwareDecoderError
from sorawm_pipeline.stages.picture_encoder import HardwareEncoderError

FINDING = 0.25
"""What finding the marks of a piece costs beside restoring it."""

RESTED = "rested"
"""Kind of the error of a clip that stopped between two pieces because it was asked to."""

log = get_logger(__name__)


class HandLostError(Exception):
    """A hand is gone, and with it what it was at; says how, in a few words."""


class Hand(Protocol):
    """One who does tasks of any clip, one at a time.

    Attributes:
        steps: what it does.
        alive: whether it can do more.
    """

    @property
    def steps(self) -> Sequence[Step]: ...
    @property
    def alive(self) -> bool: ...
    def __hash__(self) -> int: ...

    async def do(self, place: Place, task: Task, tell: Callable[[int], None]) -> None:
        """Do a task; its result is in the store afterwards. When cancelled, nobody is at it.

        Args:
            place: of the clip.
            task: what to do.
            tell: called with the frames that have come out so far.

        Raises:
            HandLostError: it cannot go on, with this or anything else.
            PipelineError: whatever went wrong.
            Unfit: parts of this clip cannot be done alone.
        """
        ...


class PiecedClip:
    """A clip while its pieces are done.

    Args:
        row: of its pieces.
        place: where hands find it.
        thread: for the row, which reads and writes files.
        on_change: called on the event loop when more is done.
    """

    def __init__(
        self, row: Row, place: Place, thread: Owner, on_change: Callable[[], None]
    ) -> None:
        self.row = row
        self.place = place
        self.on_change = on_change
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.resting = False
        self.at_work: dict[Assignment, asyncio.Task[bool | Exception]] = {}
        self._thread = thread
        self._turn = asyncio.Lock()  # for the thread
        self._frames: dict[Assignment, int] = {}
        self._kept: set[scheduling.Task] = set()  # what the row has taken; touched by the thread

    @property
    def frames(self) -> int:
        """Frames of the pieces that are being restored which are done."""
        return sum({work.task: frames for work, frames in self._frames.items()}.values())

    def end(self, error: Exception | None = None) -> None:
        """The clip is ready to be joined, or `error` speaks against it; the first word counts."""
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)

    def close(self) -> None:
        """Nobody waits for its end any more."""
        if self.ended.done() and not self.ended.cancelled():
            self.ended.exception()  # or asyncio complains that nobody has asked for it
        self.ended.cancel()

    async def done(self, work: Assignment, hand: Hand) -> bool | Exception:
        """Have a hand do its task; whether that was necessary, or what went wrong."""
        try:
            async with self._turn:
                task = await self._thread.call(lambda: self._begin(work))
            if task is None:
                return False
            log.debug("piece", doing=work.step.name.lower(), number=work.task.piece)
            await hand.do(self.place, task, lambda frames: self._count(work, task, frames))
            async with self._turn:
                await self._thread.call(lambda: self._finish(work, task))
        except Exception as error:
            return error
        finally:
            self._frames.pop(work, None)
        return True

    def _begin(self, work: Assignment) -> Task | None:
        task = None if work.task in self._kept else self.row.begin(work.task)
        if task is None:
            self._kept.add(work.task)
        return task

    def _finish(self, work: Assignment, task: Task) -> None:
        """Once for each task: two may have been at it, or one gone while the row took it."""
        if work.task not in self._kept:
            self.row.finish(task)
            self._kept.add(work.task)

    def _count(self, work: Assignment, task: Task, frames: int) -> None:
        if isinstance(task, RestoreTask):
            self._frames[work] = max(0, frames - (task.piece.first - task.around.first))
            self.on_change()


@asynccontextmanager
async def serving(keepers: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Have `keepers`, who let hands serve, at it until this is left.

    What the caller raises is the caller's: the group, which would wrap it, never sees it.
    """
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keeper) for keeper in keepers]
        try:
            yield
        except BaseException as error:
            failure = error
        for task in tasks:
            task.cancel()
    if failure is not None:
        raise failure


class Dispatch:
    """Joins clips and hands: clips are cleaned by those who `serve` at the time.

    Args:
        limits: of the policy.
        clock: seconds that do not run backwards.
    """

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits or Limits()
        self._scheduler = Scheduler(self._limits)
        self._clock = clock
        self._clips: dict[int, PiecedClip] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """No clip will come any more: let all hands go."""
        self._closed = True
        self._ring()

    async def clean(self, clip: PiecedClip) -> None:
        """Have all pieces of a clip done. When cancelled, no hand is at one of them.

        Raises:
            PipelineError: a piece cannot be done; or, with the kind `RESTED`, it rests.
            Unfit: parts of this clip cannot be done alone.
        """
        pieces = clip.row.pieces
        frames = (pieces[-1].end - pieces[0].first) / len(pieces)
        ticket = self._scheduler.add(len(pieces), frames, FINDING * frames)
        self._clips[ticket] = clip
        if clip.resting:
            self.rest(clip)
        self._ring()
        try:
            await clip.ended
        finally:
            clip.close()
            self._cancel(self._scheduler.remove(ticket, self._clock()), clip)
            self._ring()
            await outlast(clip.at_work.values())
            del self._clips[ticket]

    def rest(self, clip: PiecedClip) -> None:
        """Begin no other piece of a clip; when those at work are done, it ends with `RESTED`."""
        clip.resting = True
        for ticket, known in self._clips.items():
            if known is clip and not clip.ended.done():
                self._scheduler.pause(ticket)
                self._look_if_it_rests(clip)

    async def serve(self, hand: Hand) -> None:
        """Let a hand do what there is to be done, until it or this ends.

        When it is cancelled or lost, what it was at goes to others.

        Raises:
            HandLostError: it was lost.
        """
        try:
            while (work := await self._next(hand)) is not None:
                clip = self._clips[work.ticket]
                try:
                    how = await self._done(clip, work, hand)
                except asyncio.CancelledError:
                    self._scheduler.returned(work, self._clock())
                    raise
                self._take(clip, work, how)
        finally:
            self._scheduler.lost(hand, self._clock())
            self._ring()

    # what they are made of

    async def _next(self, hand: Hand) -> Assignment | None:
        while hand.alive and not self._closed:
            changed, now = self._changed, self._clock()
            work = self._scheduler.next_for(hand, now, hand.steps)
            if work is not None:
                return work
            wake = self._scheduler.wake(now)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wake is None else wake - now):
                    await changed.wait()
        return None

    async def _done(self, clip: PiecedClip, work: Assignment, hand: Hand) -> bool | Exception:
        """As `PiecedClip.done`; it may be cancelled alone, when nobody needs it any more."""
        async with asyncio.TaskGroup() as group:
            task = clip.at_work[work] = group.create_task(clip.done(work, hand))
            task.add_done_callback(lambda _: clip.at_work.pop(work))
        return False if task.cancelled() else task.result()

    def _take(self, clip: PiecedClip, work: Assignment, how: bool | Exception) -> None:
        now = self._clock()
        if isinstance(how, HandLostError):
            ended = self._scheduler.lost(work.slot, now)
        elif _elsewhere(how):
            ended = self._scheduler.failed(work, now)
        elif isinstance(how, Exception):
            ended = Ended(cancel=self._scheduler.remove(work.ticket, now))
            clip.end(how)
        else:
            restorable = clip.row.restorable if work.step is Step.FIND else None
            ended = self._scheduler.finished(work, now, restorable=restorable, told=how)
        self._cancel(ended.cancel, clip)
        if ended.given_up:
            clip.end(_given_up(how))
        elif ended.joinable:
            clip.end()
        self._look_if_it_rests(clip)
        clip.on_change()
        self._ring()
        if isinstance(how, HandLostError):
            raise how

    def _look_if_it_rests(self, clip: PiecedClip) -> None:
        if clip.resting and not clip.at_work:
            clip.end(PipelineError("it rests; cleaned again, it goes on from there", kind=RESTED))

    def _cancel(self, works: Collection[Assignment], clip: PiecedClip) -> None:
        for work in works:
            if (task := clip.at_work.get(work)) is not None:
                task.cancel()

    def _ring(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()


def _elsewhere(how: bool | Exception) -> bool:
    """Whether another hand may have more luck: a device's fault, but of none that can be spared."""
    spared = isinstance(how, HardwareEncoderError | HardwareDecoderError)
    return isinstance(how, PipelineError) and how.kind == "device" and not spared


def _given_up(how: bool | Exception) -> Exception:
    if isinstance(how, HandLostError):
        return PipelineError(
            f"too many workers were lost over one piece of the clip; the last {how}"
        )
    assert isinstance(how, Exception)
    return how
