"""A corridor's laws, one by one: in virtual time where time matters, on real threads elsewhere."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence

import pytest

from sorawm_pipeline.engine import Corridor, QueueSnapshot, StageSnapshot
from sorawm_pipeline.engine.probe import LiveSnapshot
from sorawm_pipeline.engine.virtual import DeadlockError, VirtualTime
from sorawm_pipeline.errors import InputError, StageError
from tests.engine.fakes import FakeSink, FakeSource, FakeStage, Fault, Item, Machine, PlannedError


def virtual(
    source: FakeSource, *stages: FakeStage, capacity: int | Sequence[int], time: VirtualTime
) -> Corridor:
    return Corridor(source, stages, capacity=capacity, thread_factory=time.thread, clock=time.now)


# --- the whole way -----------------------------------------------------------------------------


async def test_everything_comes_out_in_order_on_real_threads() -> None:
    before = set(threading.enumerate())
    machine = Machine()
    middle = FakeStage(machine, "middle", caps=(3,), held=2)
    sink = FakeSink(machine, caps=(4,))
    progress: list[int] = []
    corridor = Corridor(
        FakeSource(machine, 100), [middle, sink], capacity=4, on_consumed=progress.append
    )
    await corridor.run()
    assert sink.seen == list(range(100))
    assert progress == sorted(set(progress))
    assert progress[-1] == 100
    assert set(threading.enumerate()) == before
    assert machine.violations == []
    snapshot = corridor.snapshot()
    assert list(snapshot.stages) == ["source", "middle", "sink"]
    assert list(snapshot.queues) == ["source->middle", "middle->sink"]
    assert {stage.items for stage in snapshot.stages.values()} == {100}
    assert snapshot.live.now == 0
    assert snapshot.consumed == 100


@pytest.mark.parametrize("count", [0, 1])
async def test_next_to_nothing_is_a_stream_too(count: int) -> None:
    machine = Machine()
    sink = FakeSink(machine, held=2)
    await Corridor(
        FakeSource(machine, count, held=3),
        [FakeStage(machine, "middle", held=5), sink],
        capacity=1,
    ).run()
    assert sink.seen == list(range(count))
    assert machine.violations == []


async def test_a_sink_alone_is_a_corridor() -> None:
    machine = Machine()
    sink = FakeSink(machine)
    await Corridor(FakeSource(machine, 5), [sink], capacity=2).run()
    assert sink.seen == [0, 1, 2, 3, 4]


async def test_a_corridor_runs_once() -> None:
    machine = Machine()
    corridor = Corridor(FakeSource(machine, 1), [FakeSink(machine)], capacity=1)
    await corridor.run()
    with pytest.raises(RuntimeError, match="only once"):
        await corridor.run()


def test_what_cannot_be_a_corridor_is_refused() -> None:
    machine = Machine()
    source, sink = FakeSource(machine, 1), FakeSink(machine)
    with pytest.raises(ValueError, match="at least one stage"):
        Corridor(source, [], capacity=1)
    with pytest.raises(ValueError, match="must differ"):
        Corridor(source, [FakeStage(machine, "sink"), sink], capacity=1)
    with pytest.raises(ValueError, match="as many capacities"):
        Corridor(source, [sink], capacity=[1, 2])
    with pytest.raises(ValueError, match="at least one item"):
        Corridor(source, [sink], capacity=0)
    with pytest.raises(ValueError, match="max_cap"):
        Corridor(source, [FakeSink(machine, caps=(0,))], capacity=1)


# --- time, batches, room -----------------------------------------------------------------------


def test_stages_overlap_and_the_three_times_add_up() -> None:
    time = VirtualTime()
    machine = Machine(time)
    corridor = virtual(
        FakeSource(machine, 10, seconds=1),
        FakeStage(machine, "slow", seconds=3),
        FakeSink(machine, seconds=2),
        capacity=1,
        time=time,
    )
    time.run(corridor.run())
    # opening 3, the first item 1, ten times the bottleneck 3, its flush and close 3 each, then
    # the sink's last item runs beside those and only its flush and close 2 each remain
    stages = corridor.snapshot().stages
    assert stages["slow"].busy_s == 10 * 3 + 3
    assert stages["source"].busy_s == 10 * 1
    assert stages["sink"].busy_s == 10 * 2 + 2
    assert stages["slow"].wait_out_s == 0
    assert stages["slow"].wait_in_s == 0
    assert stages["sink"].wait_in_s == pytest.approx(time.now() - 2 - 2 - 22)
    assert time.now() == 3 + 10 * 3 + 3 + 3 + 2 + 2


def test_a_held_back_stage_shows_it_in_its_times() -> None:
    time = VirtualTime()
    machine = Machine(time)
    corridor = virtual(
        FakeSource(machine, 20, seconds=1),
        FakeStage(machine, "quick", seconds=1),
        FakeSink(machine, seconds=5),
        capacity=2,
        time=time,
    )
    time.run(corridor.run())
    stages = corridor.snapshot().stages
    assert stages["source"].wait_out_s > 50
    assert stages["quick"].wait_out_s > 50
    assert stages["sink"].wait_in_s < 5


def test_a_snapshot_counts_the_activity_under_way() -> None:
    time = VirtualTime()
    machine = Machine(time)
    corridor = virtual(FakeSource(machine, 1), FakeSink(machine, seconds=8), capacity=1, time=time)
    seen: list[StageSnapshot] = []
    live: list[LiveSnapshot] = []

    async def main() -> None:
        def look() -> None:
            seen.append(corridor.snapshot().stages["sink"])
            live.append(corridor.snapshot().live)

        asyncio.get_running_loop().call_later(11, look)
        await corridor.run()

    time.run(main())
    assert seen == [StageSnapshot(items=1, batches=1, busy_s=3, wait_in_s=0, wait_out_s=0)]
    assert live == [LiveSnapshot(bound=2, now=1, peak=1)]


def test_a_batch_is_all_that_is_queued_up_to_the_cap_and_never_waited_for() -> None:
    time = VirtualTime()
    machine = Machine(time)
    sink = FakeSink(machine, caps=(3, 2, 9), seconds=10)
    corridor = virtual(FakeSource(machine, 12, seconds=1), sink, capacity=8, time=time)
    time.run(corridor.run())
    # The source reads what fits, 8 at first, while the sink opens; the caps 3, 2 and 9 then take
    # 3, 2 and, full by then, 8 minus nothing: what is there.
    assert sink.batches[:2] == [3, 2]
    assert sink.batches[2] == 7
    assert sum(sink.batches) == 12


def test_a_lone_item_is_worked_on_at_once() -> None:
    time = VirtualTime()
    machine = Machine(time)
    sink = FakeSink(machine, caps=(8,))
    source = FakeSource(machine, 3, seconds=5)
    corridor = virtual(source, sink, capacity=1, time=time)
    time.run(corridor.run())
    assert sink.batches == [1, 1, 1]


def test_a_cap_out_of_range_is_brought_into_it() -> None:
    time = VirtualTime()
    machine = Machine(time)
    sink = FakeSink(machine, caps=(0, -3, 99))
    sink.max_cap = 4
    time.run(virtual(FakeSource(machine, 12), sink, capacity=6, time=time).run())
    assert sink.batches[:2] == [1, 1]
    assert max(sink.batches) <= 4


def test_the_bound_comes_true_when_the_sink_is_slow() -> None:
    time = VirtualTime()
    machine = Machine(time)
    stages = [
        FakeStage(machine, "a", caps=(2,), held=2),
        FakeStage(machine, "b", caps=(9,)),
        FakeSink(machine, caps=(2,), seconds=1000),
    ]
    corridor = virtual(FakeSource(machine, 200, held=3), *stages, capacity=[2, 4, 6], time=time)

    async def main() -> None:
        for second in range(0, 100_000, 500):
            asyncio.get_running_loop().call_later(second, machine.sample)
        await corridor.run()

    time.run(main())
    assert corridor.live_bound == (2 + 4 + 6) + (2 + 4 + 2) + (3 + 2)
    assert machine.alive_peak == corridor.live_bound
    snapshot = corridor.snapshot()
    assert snapshot.live == LiveSnapshot(corridor.live_bound, 0, corridor.live_bound - 3)
    assert snapshot.queues["a->b"] == QueueSnapshot(capacity=4, queued=0, peak=4)


def test_nothing_is_remembered_while_a_stage_waits() -> None:
    """While the source works, only its items are alive, though all stages have had some."""
    time = VirtualTime()
    machine = Machine(time)
    alive: list[int] = []
    corridor = virtual(
        FakeSource(machine, 5, seconds=100),
        FakeStage(machine, "middle", caps=(4,)),
        FakeSink(machine, caps=(4,)),
        capacity=2,
        time=time,
    )

    async def main() -> None:
        for moment in range(150, 700, 100):
            asyncio.get_running_loop().call_later(moment, lambda: alive.append(len(machine.alive)))
        await corridor.run()

    gc.disable()
    try:
        time.run(main())
    finally:
        gc.enable()
    assert alive == [2, 2, 2, 2, 1, 0], "opened at 100, read two until 300, two until 500, one"


# --- failures ----------------------------------------------------------------------------------

PARTS = ["source", "middle", "sink"]
METHODS = [
    (part, method)
    for part in PARTS
    for method in ("open", "read", "process", "flush", "close")
    if (method == "read") == (part == "source") or method in ("open", "close")
    if not (part == "source" and method in ("process", "flush"))
]


def three(machine: Machine) -> tuple[FakeSource, FakeStage, FakeSink]:
    return (
        FakeSource(machine, 50),
        FakeStage(machine, "middle", caps=(2,), held=1),
        FakeSink(machine, caps=(3,)),
    )


@pytest.mark.parametrize(("part", "method"), METHODS)
async def test_a_failure_anywhere_surfaces_alone_and_names_its_stage(
    part: str, method: str
) -> None:
    before = set(threading.enumerate())
    machine = Machine(faults=frozenset({Fault(part, method)}))
    source, middle, sink = three(machine)
    corridor = Corridor(source, [middle, sink], capacity=3)
    with pytest.raises(StageError, match=f"stage {part} failed.*PlannedError: planned") as caught:
        await corridor.run()
    assert caught.value.stage == part
    assert caught.value.item == (0 if method in ("read", "process") else None)
    assert isinstance(caught.value.__cause__, PlannedError)
    assert not hasattr(caught.value, "__notes__")
    assert all(each.calls["close"] == each.calls["open"] == 1 for each in (source, middle, sink))
    assert machine.violations == []
    assert set(threading.enumerate()) == before
    ended = {name for name, channel in corridor._channels.items() if channel._ended}
    assert f"{part}->middle" not in ended, "a truncated stream must not look like a whole one"
    assert f"{part}->sink" not in ended
    assert part == "sink" or sink.calls["flush"] == 0


async def test_the_item_of_a_failure_is_the_first_of_its_batch() -> None:
    machine = Machine(faults=frozenset({Fault("sink", "process", 2)}))
    sink = FakeSink(machine, caps=(3,))
    with pytest.raises(StageError, match="at item") as caught:
        await Corridor(FakeSource(machine, 50), [sink], capacity=4).run()
    assert caught.value.item == sum(sink.batches[:2])


async def test_an_error_written_for_people_stays_what_it_is() -> None:
    class Unreadable(FakeSource):
        def read(self, limit: int) -> list[Item]:
            raise InputError("The file ends in the middle of a frame.")

    machine = Machine()
    with pytest.raises(InputError, match="in the middle of a frame") as caught:
        await Corridor(Unreadable(machine, 1), [FakeSink(machine)], capacity=1).run()
    assert caught.value.stage == "source"
    assert caught.value.kind == "unreadable"


async def test_later_failures_are_notes_on_the_first() -> None:
    faults = {Fault("middle", "process"), Fault("middle", "close"), Fault("source", "close")}
    machine = Machine(faults=frozenset(faults))
    source, middle, sink = three(machine)
    with pytest.raises(StageError, match="process") as caught:
        await Corridor(source, [middle, sink], capacity=3).run()
    notes = " ".join(caught.value.__notes__)
    assert "planned middle.close#0" in notes
    assert "planned source.close#0" in notes
    assert len(caught.value.__notes__) == 2


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_a_stage_cannot_stop_the_loop_or_pass_for_cancelled(error: BaseException) -> None:
    class Rude(FakeSink):
        def process(self, batch: Sequence[Item]) -> list[Item]:
            raise error

    machine = Machine()
    with pytest.raises(StageError, match=type(error).__name__):
        await Corridor(FakeSource(machine, 9), [Rude(machine)], capacity=2).run()


async def test_a_failing_cap_or_progress_callback_fails_the_run() -> None:
    class NoCap(FakeSink):
        def cap(self) -> int:
            raise PlannedError("cap")

    machine = Machine()
    with pytest.raises(StageError, match="stage sink failed at item 0: PlannedError: cap"):
        await Corridor(FakeSource(machine, 9), [NoCap(machine)], capacity=2).run()

    def fail(consumed: int) -> None:
        raise PlannedError(f"callback {consumed}")

    machine = Machine()
    with pytest.raises(StageError, match="callback 1"):
        await Corridor(
            FakeSource(machine, 9), [FakeSink(machine)], capacity=2, on_consumed=fail
        ).run()


class Greedy(FakeSource):
    def read(self, limit: int) -> list[Item]:
        return super().read(limit + 1)


class Swallowing(FakeStage):
    def flush(self) -> list[Item]:
        return super().flush()[1:]


class Doubling(FakeStage):
    def process(self, batch: Sequence[Item]) -> list[Item]:
        return super().process(batch) * 2


class Hoarding(FakeStage):
    def process(self, batch: Sequence[Item]) -> list[Item]:
        self.hoard = [*getattr(self, "hoard", []), *batch]
        return []


class Answering(FakeSink):
    def process(self, batch: Sequence[Item]) -> list[Item]:
        return list(batch)


async def test_a_broken_promise_to_the_engine_is_said_plainly() -> None:
    machine = Machine()
    sink = FakeSink(machine)
    with pytest.raises(StageError, match=r"source broke a promise.*asked for 2 items, it gave 3"):
        await Corridor(Greedy(machine, 9), [sink], capacity=2).run()
    liars: list[tuple[FakeStage, str]] = [
        (Swallowing(machine, "swallow", held=2), "took 9 items and gave back 8"),
        (Doubling(machine, "double"), "gave back 1 more items than it took"),
        (Hoarding(machine, "hoard", held=2), "holds 3 items, its `held` says 2"),
    ]
    for stage, says in liars:
        with pytest.raises(StageError, match=f"{stage.name} broke a promise.*{says}"):
            await Corridor(FakeSource(machine, 9), [stage, FakeSink(machine)], capacity=2).run()
    with pytest.raises(StageError, match="gives nothing back, not 1 items"):
        await Corridor(FakeSource(machine, 9), [Answering(machine)], capacity=2).run()


def test_two_failures_at_one_moment_give_one_error_and_a_note() -> None:
    time = VirtualTime()
    faults = frozenset({Fault("source", "open"), Fault("sink", "open")})
    machine = Machine(time, faults)
    corridor = virtual(
        FakeSource(machine, 1, seconds=1), FakeSink(machine, seconds=1), capacity=1, time=time
    )
    with pytest.raises(StageError, match="stage source failed") as caught:
        time.run(corridor.run())
    assert caught.value.__notes__ == ["then: stage sink failed: PlannedError: planned sink.open#0"]


# --- cancellation ------------------------------------------------------------------------------


async def test_a_cancelled_run_waits_for_its_blocking_thread() -> None:
    before = set(threading.enumerate())
    loop = asyncio.get_running_loop()
    entered, release = asyncio.Event(), threading.Event()
    machine = Machine()

    def block(part: str, method: str, nth: int) -> None:
        if (part, method) == ("middle", "process"):
            loop.call_soon_threadsafe(entered.set)
            release.wait(10)

    machine.on_call = block
    source, middle, sink = three(machine)
    task = asyncio.ensure_future(Corridor(source, [middle, sink], capacity=2).run())
    async with asyncio.timeout(10):
        await entered.wait()
    for _ in range(3):
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
    assert not task.done()
    assert middle.calls["close"] == 0, "nothing is closed under a running call"
    release.set()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert middle.calls["close"] == 1
    assert machine.violations == []
    assert set(threading.enumerate()) == before


async def test_a_run_cancelled_as_it_begins_opens_nothing() -> None:
    machine = Machine()
    source, middle, sink = three(machine)
    corridor = Corridor(source, [middle, sink], capacity=2)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await corridor.run()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(main())
    assert not any(part.calls for part in (source, middle, sink))


async def cancelled_from_outside(corridor: Corridor, after: float) -> BaseException | None:
    """What `run` raises in a task that is cancelled after so many seconds."""
    caught: list[BaseException] = []

    async def main() -> None:
        try:
            await corridor.run()
        except BaseException as error:
            caught.append(error)
            raise

    task = asyncio.ensure_future(main())
    asyncio.get_running_loop().call_later(after, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
    return caught[0] if caught else None


@pytest.mark.parametrize(
    ("fault", "after", "what"),
    [
        (Fault("sink", "process"), 15, "the stage fails while it is being cancelled"),
        (Fault("sink", "process"), 25, "the cancellation comes while the failure winds down"),
        (Fault("source", "close"), 15, "closing fails because of the cancellation"),
    ],
)
def test_a_failure_never_swallows_a_cancellation(fault: Fault, after: float, what: str) -> None:
    """The sink opens until 10, processes until 20 and, closing, winds down until 30."""
    time = VirtualTime()
    machine = Machine(time, frozenset({fault}))
    corridor = virtual(FakeSource(machine, 9), FakeSink(machine, seconds=10), capacity=1, time=time)
    error = time.run(cancelled_from_outside(corridor, after))
    assert isinstance(error, asyncio.CancelledError), what
    assert [str(fault) in note for note in error.__notes__] == [True], what
    assert time.now() == 30
    assert machine.violations == []


def test_a_timeout_around_a_run_stays_a_timeout_when_a_stage_fails_meanwhile() -> None:
    time = VirtualTime()
    machine = Machine(time, frozenset({Fault("sink", "process")}))
    corridor = virtual(FakeSource(machine, 9), FakeSink(machine, seconds=10), capacity=1, time=time)

    async def main() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(15):
                await corridor.run()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert time.run(main()) == 0


async def test_a_failed_run_leaves_its_caller_uncancelled() -> None:
    machine = Machine(faults=frozenset({Fault("sink", "process")}))
    with pytest.raises(StageError):
        await Corridor(FakeSource(machine, 9), [FakeSink(machine)], capacity=2).run()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {task}


# --- what is left ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["complete", "failed", "cancelled"])
async def test_no_item_stays_referenced_after_a_run(end: str) -> None:
    faults = {Fault("middle", "process", 3)} if end == "failed" else set[Fault]()
    machine = Machine(faults=frozenset(faults))
    source, middle, sink = three(machine)
    corridor = Corridor(source, [middle, sink], capacity=3)
    task = asyncio.ensure_future(corridor.run())
    if end == "cancelled":
        loop = asyncio.get_running_loop()
        machine.on_call = lambda part, method, nth: (
            (loop.call_soon_threadsafe(task.cancel), None)[1]
            if (part, method, nth) == ("sink", "process", 2)
            else None
        )
    gc.disable()
    try:
        await asyncio.wait([task])
        if end == "cancelled":
            assert task.cancelled()
        else:
            assert (task.exception() is None) == (end == "complete")
        # the error, though still held by the task, holds no item
        assert len(machine.alive) == 0
    finally:
        gc.enable()


async def test_a_finished_corridor_can_be_collected() -> None:
    machine = Machine(faults=frozenset({Fault("sink", "process")}))
    corridor = Corridor(FakeSource(machine, 9), [FakeSink(machine)], capacity=2)
    with pytest.raises(StageError):
        await corridor.run()
    gone = weakref.ref(corridor)
    del corridor
    gc.collect()
    assert gone() is None


async def test_a_forgotten_error_is_freed_at_once() -> None:
    machine = Machine(faults=frozenset({Fault("sink", "process"), Fault("sink", "close")}))
    gone: list[weakref.ref[BaseException]] = []
    gc.disable()
    try:
        try:
            await Corridor(FakeSource(machine, 9), [FakeSink(machine)], capacity=2).run()
        except StageError as error:
            gone.append(weakref.ref(error))
        assert gone
        assert gone[0]() is None
    finally:
        gc.enable()


def test_a_stage_that_never_ends_its_stream_would_be_seen_as_a_deadlock() -> None:
    """The virtual loop can tell: the property tests rely on it."""
    time = VirtualTime()
    machine = Machine(time)
    corridor = virtual(FakeSource(machine, 3), FakeSink(machine), capacity=1, time=time)
    corridor._workers[0]._end = lambda: None  # type: ignore[method-assign]
    with pytest.raises(DeadlockError):
        time.run(corridor.run())
