"""Clips and hands joined by the policy: none waits long, none is left out, none is done by two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline import scheduling
from sorawm_pipeline.engine import Owner
from sorawm_pipeline.errors import DeviceError, InputError, PipelineError
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.scheduling import STEPS, Limits, Step
from sorawm_pipeline.segments.dispatch import (
    RESTED,
    Dispatch,
    HandLostError,
    PiecedClip,
    serving,
)
from sorawm_pipeline.segments.orders import Place
from sorawm_pipeline.segments.pieces import FindTask, RestoreTask, Task
from sorawm_pipeline.segments.plan import Around, Piece
from sorawm_pipeline.segments.row import Row
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.stages.picture_encoder import HardwareEncoderError

LENGTH = 10


class Here:
    """A thread that is none."""

    async def call(self, what: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)
        done = what()
        await asyncio.sleep(0)
        return done


class FakeRow:
    """Pieces without pictures; `reach` more must be found before one can be restored."""

    def __init__(self, pieces: int, reach: int = 0, reused: Sequence[scheduling.Task] = ()) -> None:
        self.pieces = [Piece(n, n * LENGTH, (n + 1) * LENGTH) for n in range(pieces)]
        self.done: list[scheduling.Task] = []
        self._reach = reach
        self._reused = set(reused)

    @property
    def restorable(self) -> int:
        found = sum(task.step is Step.FIND for task in self.done)
        return found if found == len(self.pieces) else max(0, found - self._reach)

    def begin(self, what: scheduling.Task) -> Task | None:
        piece = self.pieces[what.piece]
        if what.step is Step.FIND:
            assert sum(task.step is Step.FIND for task in self.done) == what.piece
            task: Task = FindTask(f"find-{what.piece}", piece, 0, None, last=False)
        else:
            assert what.piece < self.restorable
            around = Around(piece.first, piece.end)
            task = RestoreTask(f"piece-{what.piece}", piece, around, (), None, frozenset())
        if what in self._reused:
            self.finish(task)
            return None
        return task

    def finish(self, task: Task) -> None:
        step = Step.FIND if isinstance(task, FindTask) else Step.RESTORE
        done = scheduling.Task(step, task.piece.number)
        assert done not in self.done
        self.done.append(done)

    @property
    def whole(self) -> bool:
        return sorted(self.done) == [
            scheduling.Task(step, n) for step in Step for n in range(len(self.pieces))
        ]


class FakeHand:
    """Does a task in a turn of the loop; `how` may raise, or wait."""

    def __init__(
        self,
        how: Callable[[Task], Any] = lambda _: None,
        steps: Sequence[Step] = STEPS,
        *,
        mortal: bool = False,
    ) -> None:
        self.steps = steps
        self.alive = True
        self.did: list[tuple[Path, Task]] = []
        self.cancelled = 0
        self._how = how
        self._mortal = mortal

    async def do(self, place: Place, task: Task, tell: Callable[[int], None]) -> None:
        tell(LENGTH // 2)
        try:
            await asyncio.sleep(0)
            if (waited := self._how(task)) is not None:
                await waited
        except asyncio.CancelledError:
            self.cancelled += 1
            self.alive = not self._mortal
            raise
        self.did.append((place.source, task))


def clip(row: FakeRow, name: str = "a", on_change: Callable[[], None] = lambda: None) -> PiecedClip:
    place = Place(Path(name), Store(Path("/store")), "plan")
    return PiecedClip(cast("Row", row), place, cast("Owner", Here()), on_change)


@asynccontextmanager
async def dispatching(*hands: FakeHand, **limits: Any) -> AsyncIterator[Dispatch]:
    dispatch = Dispatch(Limits(**{"late": float("inf"), **limits}))

    async def kept(hand: FakeHand) -> None:
        while hand.alive:
            try:
                await dispatch.serve(hand)
            except HandLostError:
                continue

    async with asyncio.timeout(20), AsyncExitStack() as stack:
        await stack.enter_async_context(serving(kept(hand) for hand in hands))
        yield dispatch


async def turns(number: int) -> None:
    """Let others go on."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until(what: Callable[[], bool]) -> None:
    while not what():
        await turns(1)


@pytest.mark.parametrize("reach", [0, 1, 12])
@pytest.mark.parametrize("hands", [1, 2, 5])
async def test_every_piece_is_done_once(hands: int, reach: int) -> None:
    row = FakeRow(20, reach)
    async with dispatching(*(FakeHand() for _ in range(hands)), window=3) as dispatch:
        await dispatch.clean(clip(row))
    assert row.whole


async def test_each_hand_does_what_it_can() -> None:
    finder, restorer, row = FakeHand(steps=[Step.FIND]), FakeHand(steps=[Step.RESTORE]), FakeRow(9)
    async with dispatching(finder, restorer) as dispatch:
        await dispatch.clean(clip(row))
    assert row.whole
    assert {type(task) for _, task in finder.did} == {FindTask}
    assert {type(task) for _, task in restorer.did} == {RestoreTask}


async def test_what_was_done_before_is_not_done_again() -> None:
    reused = [scheduling.Task(step, n) for step in Step for n in range(3)]
    hand, row = FakeHand(), FakeRow(5, reused=reused)
    async with dispatching(hand) as dispatch:
        await dispatch.clean(clip(row))
    assert row.whole
    assert len(hand.did) == 4


async def test_a_short_clip_does_not_wait_for_a_long_one() -> None:
    hand, long, short = FakeHand(), FakeRow(100), FakeRow(1)
    async with dispatching(hand) as dispatch, asyncio.TaskGroup() as group:
        group.create_task(dispatch.clean(clip(long, "long")))
        await until(lambda: len(hand.did) >= 5)
        await dispatch.clean(clip(short, "short"))
        assert len(hand.did) < 12
    assert long.whole


async def test_frames_are_counted_while_they_are_done() -> None:
    seen: list[int] = []
    row = FakeRow(3)
    one = clip(row, on_change=lambda: seen.append(one.frames))
    async with dispatching(FakeHand()) as dispatch:
        await dispatch.clean(one)
    assert LENGTH // 2 in seen
    assert one.frames == 0


@pytest.mark.parametrize(
    "error",
    [InputError("is damaged"), HardwareEncoderError("nvenc failed"), Unfit("no"), ValueError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_the_clips_fault_ends_it_at_once(error: Exception) -> None:
    def fail(task: Task) -> None:
        if task.name == "piece-1":
            raise error

    hand, good = FakeHand(fail), FakeRow(1)
    async with dispatching(hand) as dispatch:
        with pytest.raises(type(error)) as caught:
            await dispatch.clean(clip(FakeRow(4)))
        assert caught.value is error
        await dispatch.clean(clip(good))
    assert good.whole


async def test_a_devices_fault_is_tried_by_another_hand() -> None:
    def fail(_: Task) -> None:
        raise DeviceError("out of memory")

    bad, good, row = FakeHand(fail), FakeHand(), FakeRow(4)
    async with dispatching(bad, good) as dispatch:
        await dispatch.clean(clip(row))
    assert row.whole
    assert not bad.did


async def test_one_who_finds_tries_again_beside_one_who_restores() -> None:
    def fail(task: Task) -> None:
        tried.append(task.name)
        if len(tried) == 1:
            raise DeviceError("out of memory")

    tried: list[str] = []
    row = FakeRow(3)
    hands = FakeHand(fail, [Step.FIND]), FakeHand(steps=[Step.RESTORE])
    async with dispatching(*hands, tries=2) as dispatch:
        await dispatch.clean(clip(row))
    assert row.whole
    assert tried == ["find-0", "find-0", "find-1", "find-2"]


async def test_one_that_fails_everywhere_is_given_up() -> None:
    tried: list[str] = []

    def fail(task: Task) -> None:
        tried.append(task.name)
        raise DeviceError("out of memory")

    async with dispatching(FakeHand(fail), FakeHand(fail), tries=3) as dispatch:
        with pytest.raises(DeviceError, match="out of memory"):
            await dispatch.clean(clip(FakeRow(4)))
    assert tried == ["find-0"] * 3


async def test_what_a_lost_hand_was_at_is_done_by_others() -> None:
    def die(task: Task) -> None:
        if task.name == "piece-2" and not died:
            died.append(task)
            raise HandLostError("signal 9")

    died: list[Task] = []
    row = FakeRow(4)
    async with dispatching(FakeHand(die), FakeHand(die)) as dispatch:
        await dispatch.clean(clip(row))
    assert died
    assert row.whole


async def test_a_piece_that_kills_every_hand_is_given_up() -> None:
    def die(task: Task) -> None:
        if task.name == "piece-0":
            raise HandLostError("signal 9")

    async with dispatching(FakeHand(die), losses=3) as dispatch:
        with pytest.raises(PipelineError, match=r"too many workers were lost.*signal 9"):
            await dispatch.clean(clip(FakeRow(4)))


@pytest.mark.parametrize("mortal", [False, True])
async def test_when_a_clip_is_cancelled_nobody_is_at_it(mortal: bool) -> None:
    never = asyncio.Event()
    hand, other, row = FakeHand(lambda _: never.wait(), mortal=mortal), FakeHand(), FakeRow(1)
    async with dispatching(hand) as dispatch:
        job = asyncio.create_task(dispatch.clean(clip(FakeRow(4))))
        await turns(10)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert hand.cancelled == 1
        async with serving([dispatch.serve(other)]):
            never.set()
            await dispatch.clean(clip(row))
    assert row.whole


async def test_a_hand_that_leaves_costs_nothing() -> None:
    never = asyncio.Event()
    hand, other, row = FakeHand(lambda _: never.wait()), FakeHand(), FakeRow(3)
    async with dispatching(losses=1, tries=1) as dispatch:
        leaving = asyncio.create_task(dispatch.serve(hand))
        async with asyncio.TaskGroup() as group:
            job = group.create_task(dispatch.clean(clip(row)))
            await turns(10)
            leaving.cancel()
            await asyncio.wait([leaving])
            async with serving([dispatch.serve(other)]):
                await job
    assert row.whole


@pytest.mark.parametrize("step", [0, 1])
async def test_a_hand_that_leaves_when_the_row_has_taken_its_piece(step: int) -> None:
    class Telling(FakeRow):
        def finish(self, task: Task) -> None:
            super().finish(task)
            if len(self.done) == 1 + step:
                leaving.cancel()

    row, hand, other = Telling(3), FakeHand(), FakeHand()
    async with dispatching(window=1) as dispatch:
        leaving = asyncio.create_task(dispatch.serve(hand))
        async with asyncio.TaskGroup() as group:
            job = group.create_task(dispatch.clean(clip(row)))
            await asyncio.wait([leaving])
            async with serving([dispatch.serve(other)]):
                await job
    assert row.whole
    assert len(hand.did) + len(other.did) == 6


@pytest.mark.parametrize("when", ["before", "idle", "at work"])
async def test_a_clip_rests_between_pieces(when: str) -> None:
    go_on = asyncio.Event()
    row = FakeRow(9)
    one = clip(row)
    hands = [] if when == "idle" else [FakeHand(lambda _: go_on.wait())]
    async with dispatching(*hands) as dispatch:
        if when == "before":
            dispatch.rest(one)
        job = asyncio.create_task(dispatch.clean(one))
        await turns(10)
        dispatch.rest(one)
        go_on.set()
        with pytest.raises(PipelineError) as caught:
            await job
    assert caught.value.kind == RESTED
    assert len(row.done) == (when == "at work")


async def test_what_is_late_is_done_by_another_too_and_the_slower_one_is_stopped() -> None:
    never, now = asyncio.Event(), [0.0]

    def stuck(task: Task) -> Any:
        now[0] += 1.0
        if task.name != "piece-3":
            return None
        stuck_ones.append(task)
        return never.wait()

    stuck_ones: list[Task] = []
    row = FakeRow(6)
    slow, quick = FakeHand(stuck), FakeHand(lambda _: now.__setitem__(0, now[0] + 1.0))
    dispatch = Dispatch(Limits(copies=1.0), clock=lambda: now[0])

    async def pass_time() -> None:
        while True:
            now[0] += 0.1
            dispatch._ring()
            await asyncio.sleep(0)

    async with asyncio.timeout(20):
        async with serving([dispatch.serve(slow), pass_time()]):
            job = asyncio.create_task(dispatch.clean(clip(row)))
            await until(lambda: bool(stuck_ones))
            async with serving([dispatch.serve(quick)]):
                await job
    assert row.whole
    assert slow.cancelled == 1


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=4),
    st.lists(st.sampled_from(["well", "dies", "fails", "broken"]), max_size=40),
    st.integers(1, 3),
)
def test_whatever_happens_every_clip_ends(
    clips: list[tuple[int, int]], fates: list[str], hands: int
) -> None:
    fate = iter(fates)

    def happen(_: Task) -> None:
        match next(fate, "well"):
            case "dies":
                raise HandLostError("signal 9")
            case "fails":
                raise DeviceError("out of memory")
            case "broken":
                raise InputError("is damaged")

    async def run() -> list[tuple[FakeRow, BaseException | None]]:
        rows = [FakeRow(pieces, reach) for pieces, reach in clips]
        async with dispatching(*(FakeHand(happen) for _ in range(hands)), rest_s=0.0) as dispatch:
            ended = await asyncio.gather(
                *(dispatch.clean(clip(row)) for row in rows), return_exceptions=True
            )
        return list(zip(rows, ended, strict=True))

    for row, how in asyncio.run(run()):
        assert (how is None) == row.whole
        assert how is None or isinstance(how, PipelineError)
