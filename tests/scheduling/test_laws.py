"""Whatever slots, clips, failures, losses, pauses and cancellations do, the laws hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sorawm_pipeline.scheduling import Assignment, Ended, Limits, Scheduler, Step, Task


@dataclass
class Told:
    """What a clip's caller knows of it."""

    pieces: int
    chain: bool
    results: list[Task] = field(default_factory=list)
    failures: dict[Task, int] = field(default_factory=dict)
    losses: dict[Task, int] = field(default_factory=dict)
    paused: bool = False

    @property
    def restored(self) -> set[int]:
        return {task.piece for task in self.results if task.step is Step.RESTORE}

    @property
    def first(self) -> int:
        return next(n for n in range(self.pieces + 1) if n not in self.restored)


class Laws(RuleBasedStateMachine):
    @initialize(
        window=st.integers(1, 4),
        reach=st.integers(0, 2),
        tries=st.integers(1, 4),
        losses=st.integers(1, 3),
        late=st.sampled_from([1.5, float("inf")]),
    )
    def begin(self, window: int, reach: int, tries: int, losses: int, late: float) -> None:
        self.limits = Limits(window, reach, tries, losses, late, copies=0.5, rest_s=3.0)
        self.scheduler = Scheduler(self.limits)
        self.now = 0.0
        self.clips: dict[int, Told] = {}
        self.running: dict[int, Assignment] = {}
        self.seen: set[int] = set()
        self.failed_last: dict[tuple[int, Task], int] = {}

    # what callers do

    @rule(
        pieces=st.integers(1, 9), find=st.sampled_from([0.0, 0.3]), weight=st.sampled_from([1, 2])
    )
    def add(self, pieces: int, find: float, weight: int) -> None:
        ticket = self.scheduler.add(pieces, 1.0, find, weight=weight)
        assert ticket not in self.clips
        self.clips[ticket] = Told(pieces, bool(find))

    @rule(seconds=st.floats(0.1, 3.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(slot=st.integers(0, 4))
    def ask(self, slot: int) -> None:
        if slot in self.running:
            return
        self.seen.add(slot)
        work = self.scheduler.next_for(slot, self.now)
        if work is not None:
            self.check(work)
            self.running[slot] = work

    def check(self, work: Assignment) -> None:
        clip, (step, piece) = self.clips[work.ticket], work.task
        assert not clip.paused or work.copy
        assert work.task not in clip.results
        same = [w for w in self.running.values() if (w.ticket, w.task) == (work.ticket, work.task)]
        assert len(same) == work.copy  # done twice at once only on purpose, and never three times
        assert piece < clip.first + self.limits.window + (self.limits.reach * (step is Step.FIND))
        if step is Step.FIND:
            assert all(Task(Step.FIND, n) in clip.results for n in range(piece))
        elif clip.chain:
            needed = min(clip.pieces, piece + 1 + self.limits.reach)
            assert all(Task(Step.FIND, n) in clip.results for n in range(needed))
        failed_on = self.failed_last.pop((work.ticket, work.task), None)
        if failed_on == work.slot:
            stats = self.scheduler.statistics()
            assert stats.slots - stats.aside <= 1

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.running)))
        self.end_well(self.running.pop(slot))

    def end_well(self, work: Assignment) -> None:
        clip = self.clips[work.ticket]
        ended = self.scheduler.finished(work, self.now)
        assert ended.first
        assert work.task not in clip.results  # nothing counts twice
        clip.results.append(work.task)
        self.take(ended, work)
        assert not self.scheduler.finished(work, self.now).first
        assert ended.joinable == (clip.first == clip.pieces)
        assert self.scheduler.joinable(work.ticket) == ended.joinable
        if ended.joinable:
            assert self.scheduler.remove(work.ticket, self.now) == ()
            del self.clips[work.ticket]

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.running)))
        work = self.running.pop(slot)
        clip = self.clips[work.ticket]
        clip.failures[work.task] = clip.failures.get(work.task, 0) + 1
        ended = self.scheduler.failed(work, self.now)
        assert ended.given_up == (clip.failures[work.task] >= self.limits.tries)
        self.take(ended, work)
        if not any(w.task == work.task and w.ticket == work.ticket for w in self.running.values()):
            self.failed_last[work.ticket, work.task] = slot

    @rule(slot=st.integers(0, 4))
    def lose(self, slot: int) -> None:
        work = self.running.pop(slot, None)
        ended = self.scheduler.lost(slot, self.now)
        self.seen.discard(slot)
        if work is None:
            assert ended == Ended()
            return
        clip = self.clips[work.ticket]
        clip.losses[work.task] = clip.losses.get(work.task, 0) + 1
        assert ended.given_up == (clip.losses[work.task] >= self.limits.losses)
        self.take(ended, work)
        self.failed_last.pop((work.ticket, work.task), None)

    def take(self, ended: Ended, work: Assignment) -> None:
        for other in ended.cancel:
            assert self.running.pop(other.slot) is other  # type: ignore[call-overload]
            assert other.ticket == work.ticket
        if ended.given_up:
            del self.clips[work.ticket]
            assert all(w.ticket != work.ticket for w in self.running.values())

    @precondition(lambda self: self.clips)
    @rule(data=st.data(), stop=st.booleans())
    def pause(self, data: st.DataObject, stop: bool) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.clips)))
        under_way = self.scheduler.pause(ticket)
        assert {id(w) for w in under_way} == {
            id(w) for w in self.running.values() if w.ticket == ticket
        }
        self.clips[ticket].paused = True
        if stop:
            for work in under_way:
                self.scheduler.returned(work, self.now)
                del self.running[work.slot]  # type: ignore[arg-type]
                self.failed_last.pop((ticket, work.task), None)

    @precondition(lambda self: self.clips)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.clips)))
        self.scheduler.resume(ticket)
        self.clips[ticket].paused = False

    @precondition(lambda self: self.clips)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.clips)))
        for work in self.scheduler.remove(ticket, self.now):
            assert self.running.pop(work.slot) is work  # type: ignore[call-overload]
        del self.clips[ticket]
        assert all(w.ticket != ticket for w in self.running.values())

    @invariant()
    def the_books_agree(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        stats = self.scheduler.statistics()
        assert stats.running == len(self.running)
        assert stats.copies == sum(work.copy for work in self.running.values())
        assert stats.waiting + stats.begun == len(self.clips)
        assert 2 * stats.aside <= stats.slots
        assert stats.held <= max(0, self.limits.window - 1) * stats.begun
        for ticket, clip in self.clips.items():
            first = self.scheduler.joined_to(ticket)
            assert first == clip.first  # pieces are joined in order, and none is missing

    def teardown(self) -> None:
        """When nothing fails any more, every clip comes to its end."""
        if not hasattr(self, "scheduler"):
            return
        for ticket, clip in self.clips.items():
            self.scheduler.resume(ticket)
            clip.paused = False
        for _ in range(2 * 10 * (len(self.clips) + 5) * 5):
            if not self.clips:
                break
            for slot in range(5):
                self.ask(slot)
            self.now += 1.0
            if self.running:
                self.end_well(self.running.pop(min(self.running)))
        assert self.clips == {}
        assert self.scheduler.statistics().running == len(self.running) == 0


Laws.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestLaws = Laws.TestCase
