"""Random corridors: whatever the speeds, sizes, failures and cancellations, the laws hold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sorawm_pipeline.engine import Corridor, CorridorSnapshot, OwnerThread, ThreadFactory
from sorawm_pipeline.engine.virtual import VirtualThread, VirtualTime
from sorawm_pipeline.errors import StageError
from tests.engine.fakes import FakeSink, FakeSource, FakeStage, Fault, Machine, Part, PlannedError


@dataclass(frozen=True)
class StagePlan:
    caps: tuple[int, ...]
    held: int
    seconds: float
    capacity: int


@dataclass(frozen=True)
class Plan:
    items: int
    source_held: int
    source_seconds: float
    stages: tuple[StagePlan, ...]
    faults: frozenset[Fault]

    @property
    def names(self) -> list[str]:
        return ["source", *(f"s{n}" for n in range(len(self.stages) - 1)), "sink"]


@dataclass
class Outcome:
    """What a run left behind."""

    error: BaseException | None = None
    cancelled: bool = False
    tasks_left: int = 0
    snapshots: list[CorridorSnapshot] = field(default_factory=list)


seconds = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.5, 7.0])
stage_plans = st.builds(
    StagePlan,
    caps=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    held=st.integers(0, 4),
    seconds=seconds,
    capacity=st.integers(1, 6),
)


@st.composite
def plans(draw: st.DrawFn, most_faults: int = 2) -> Plan:
    stages = tuple(draw(st.lists(stage_plans, min_size=1, max_size=4)))
    plan = Plan(
        draw(st.integers(0, 40)), draw(st.integers(0, 3)), draw(seconds), stages, frozenset()
    )
    faults = st.sampled_from(plan.names).flatmap(
        lambda part: st.builds(
            Fault,
            st.just(part),
            st.sampled_from(
                ["open", "read", "read", "close"]
                if part == "source"
                else ["open", "process", "process", "flush", "close"]
            ),
            st.integers(0, 4),
        )
    )
    chosen = draw(st.frozensets(faults, max_size=most_faults))
    return Plan(plan.items, plan.source_held, plan.source_seconds, stages, chosen)


class Bench:
    """Builds the planned corridor, runs it, and judges what came of it."""

    def __init__(self, plan: Plan, machine: Machine) -> None:
        self.plan = plan
        self.machine = machine
        machine.faults = plan.faults
        *middle, last = plan.stages
        self.source = FakeSource(
            machine, plan.items, held=plan.source_held, seconds=plan.source_seconds
        )
        self.stages = [
            FakeStage(machine, f"s{n}", caps=stage.caps, held=stage.held, seconds=stage.seconds)
            for n, stage in enumerate(middle)
        ]
        self.sink = FakeSink(machine, caps=last.caps, held=last.held, seconds=last.seconds)
        self.parts: list[Part] = [self.source, *self.stages, self.sink]

    def corridor(self, make_thread: ThreadFactory, clock: Callable[[], float]) -> Corridor:
        return Corridor(
            self.source,
            [*self.stages, self.sink],
            capacity=[stage.capacity for stage in self.plan.stages],
            thread_factory=make_thread,
            clock=clock,
        )

    async def run(
        self, corridor: Corridor, arm: Callable[[asyncio.Task[None], Outcome], None]
    ) -> Outcome:
        outcome = Outcome()

        async def capture() -> None:
            try:
                await corridor.run()
            except BaseException as error:
                outcome.error = error

        task = asyncio.ensure_future(capture())
        arm(task, outcome)
        await asyncio.wait([task])
        outcome.tasks_left = len(asyncio.all_tasks()) - 1
        outcome.snapshots.append(corridor.snapshot())
        return outcome

    def judge(self, corridor: Corridor, outcome: Outcome) -> None:
        self._judge_error(outcome)
        machine, last = self.machine, outcome.snapshots[-1]
        assert machine.violations == []
        assert outcome.tasks_left == 0
        for part in self.parts:
            assert part.calls["open"] == part.calls["close"] <= 1, part.name
        assert self.sink.seen == list(range(len(self.sink.seen))), "lost, doubled or out of order"
        assert machine.alive_peak <= corridor.live_bound
        for snapshot in outcome.snapshots:
            assert 0 <= snapshot.live.now <= snapshot.live.peak <= snapshot.live.bound
            for queue in snapshot.queues.values():
                assert queue.queued <= queue.peak <= queue.capacity
            for name, stage in snapshot.stages.items():
                assert min(stage.busy_s, stage.wait_in_s, stage.wait_out_s) >= 0, name
        if outcome.error is None:
            assert self.sink.seen == list(range(self.plan.items))
            assert last.consumed == self.plan.items
            assert last.live.now == 0
            assert {stage.items for stage in last.stages.values()} == {self.plan.items}
            assert all(stage.calls["flush"] == 1 for stage in [*self.stages, self.sink])
        assert len(machine.alive) == 0, "not even the error keeps an item alive"

    def _judge_error(self, outcome: Outcome) -> None:
        error, fired = outcome.error, self.machine.fired
        noted = " ".join(getattr(error, "__notes__", []))
        if outcome.cancelled:
            event("cancelled")
            assert isinstance(error, asyncio.CancelledError)
            assert all(str(fault) in noted for fault in fired)
        elif fired:
            event(f"failed, {len(fired)} faults")
            assert isinstance(error, StageError)
            assert isinstance(error.__cause__, PlannedError)
            first = next(fault for fault in fired if str(fault) == str(error.__cause__))
            assert error.stage == first.part
            assert all(str(fault) in noted for fault in fired if fault != first)
        else:
            event("complete")
            assert error is None


@settings(max_examples=150, deadline=None)
@given(plan=plans(), cancel_at=st.none() | st.lists(st.integers(0, 120), min_size=1, max_size=3))
def test_in_virtual_time(plan: Plan, cancel_at: list[int] | None) -> None:
    time = VirtualTime()
    bench = Bench(plan, Machine(time))
    owners: list[VirtualThread] = []

    def make_thread(name: str) -> VirtualThread:
        owners.append(time.thread(name))
        return owners[-1]

    corridor = bench.corridor(make_thread, time.now)

    def arm(task: asyncio.Task[None], outcome: Outcome) -> None:
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            outcome.cancelled |= task.cancel()

        def look() -> None:
            bench.machine.sample()
            outcome.snapshots.append(corridor.snapshot())

        for moment in cancel_at or []:
            loop.call_later(moment / 2, cancel)
        for moment in range(100):
            loop.call_later(moment + 0.25, look)

    outcome = time.run(bench.run(corridor, arm))
    if outcome.error is None:
        assert all(owner.stopped for owner in owners)
        for part in bench.parts:
            figures = outcome.snapshots[-1].stages[part.name]
            lifetime = figures.busy_s + figures.wait_in_s + figures.wait_out_s
            assert lifetime + 2 * part.seconds <= time.now() + 1e-6
    bench.judge(corridor, outcome)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans(), cancel_at_call=st.none() | st.integers(0, 80))
def test_on_real_threads(plan: Plan, cancel_at_call: int | None) -> None:
    before = set(threading.enumerate())
    machine = Machine()
    bench = Bench(plan, machine)
    calls = count()

    async def main() -> tuple[Corridor, Outcome]:
        corridor = bench.corridor(OwnerThread, perf_counter)
        loop = asyncio.get_running_loop()

        def arm(task: asyncio.Task[None], outcome: Outcome) -> None:
            def cancel() -> None:
                outcome.cancelled |= task.cancel()

            def on_call(part: str, method: str, nth: int) -> None:
                if next(calls) == cancel_at_call:
                    loop.call_soon_threadsafe(cancel)

            machine.on_call = on_call

        return corridor, await bench.run(corridor, arm)

    corridor, outcome = asyncio.run(main())
    assert set(threading.enumerate()) == before
    bench.judge(corridor, outcome)
