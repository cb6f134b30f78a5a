"""The policy: hands pieces of clips to slots."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sorawm_pipeline.scheduling.fair import FairQueue, Flow, Waiting
from sorawm_pipeline.scheduling.row import STEPS, Row, Step, Task
from sorawm_pipeline.scheduling.slots import Slot, Slots
from sorawm_pipeline.scheduling.stragglers import Stragglers

_NOBODY = object()
"""Who should not do what any slot may do."""

SOON_S = 1.0
"""Before which there is no point in asking again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the policy keeps to.

    Attributes:
        window: pieces of a clip that may be begun after the first that is not restored.
        reach: pieces behind one that must be found before it is restored.
        tries: failures of one piece after which its clip is given up.
        losses: slots that one piece may be lost with, likewise: it may be what kills them.
        late: times the typical duration after which a piece may be done once more; inf: never.
        copies: share of the slots that may do so at once.
        slot_failures: in a row, after which a slot is set aside.
        rest_s: for how long, the first time.
    """

    window: int = 8
    reach: int = 1
    tries: int = 4
    losses: int = 8
    late: float = 1.5
    copies: float = 0.1
    slot_failures: int = 3
    rest_s: float = 60.0


class Assignment:
    """A slot's work, until it is finished, failed, lost or to be cancelled.

    Attributes:
        ticket: the clip's.
        task: which step of which piece.
        slot: whose work it is.
        started: when, in seconds.
        cost: estimated seconds.
        copy: whether another slot was at work on the same already.
        clip, holder: the policy's own.
    """

    __slots__ = ("clip", "copy", "cost", "holder", "started", "task", "ticket")

    def __init__(
        self, clip: _Clip, task: Task, slot: Slot[Assignment], now: float, copy: bool
    ) -> None:
        self.clip = clip
        self.holder = slot
        self.ticket = clip.ticket
        self.task = task
        self.started = now
        self.cost = clip.row.cost_of(task)
        self.copy = copy

    def __repr__(self) -> str:
        step, piece = self.task
        return f"<{step.name.lower()} {piece} of {self.ticket} on {self.slot!r}>"

    @property
    def slot(self) -> Hashable:
        return self.holder.name

    @property
    def step(self) -> Step:
        return self.task.step

    @property
    def pace(self) -> float:
        return self.holder.pace

    @property
    def lone(self) -> bool:
        return self.clip.running.get(self.task) == [self]


class Ended(NamedTuple):
    """What follows from the end of an assignment.

    Attributes:
        first: whether its result is the one that counts.
        cancel: work that nobody needs any more; its slots are free.
        joinable: all pieces of the clip are there.
        given_up: the clip has failed and is forgotten.
    """

    first: bool = False
    cancel: tuple[Assignment, ...] = ()
    joinable: bool = False
    given_up: bool = False


class Statistics(NamedTuple):
    """Counts; `redone_s` and `copied_s` are seconds of slots whose work was of no use."""

    waiting: int
    begun: int
    paused: int
    running: int
    copies: int
    slots: int
    aside: int
    held: int
    assigned: int
    redone_s: float
    copied_s: float


class _Clip:
    """A clip that is not merely waiting."""

    __slots__ = ("blamed", "flow", "paused", "put_by", "queued", "row", "running", "ticket")

    def __init__(self, ticket: int, row: Row, flow: Flow[_Clip]) -> None:
        self.ticket = ticket
        self.row = row
        self.flow = flow
        self.paused = False
        self.queued = False
        self.running: dict[Task, list[Assignment]] = {}
        self.put_by: list[tuple[Task, Hashable]] = []
        self.blamed: dict[Task, list[int]] = {}

    def __lt__(self, other: _Clip) -> bool:
        return self.ticket < other.ticket


class Scheduler:
    """Not for several threads; all calls are short and none blocks."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._queue: FairQueue[_Clip] = FairQueue()
        self._waiting: dict[int, Flow[_Clip]] = {}
        self._clips: dict[int, _Clip] = {}
        self._slots: Slots[Assignment] = Slots(self._limits.slot_failures, self._limits.rest_s)
        self._stragglers: Stragglers[Assignment] = Stragglers(self._limits.late)
        # What is to be done again, by the slot that should not do it.
        self._again: dict[Hashable, deque[tuple[_Clip, Task]]] = {}
        self._tickets = self._assigned = self._running = self._copies = 0
        self._redone_s = self._copied_s = 0.0

    # clips

    def add(self, pieces: int, cost: float, find_cost: float = 0.0, *, weight: float = 1.0) -> int:
        """A clip is to be cleaned. Returns its ticket; later ones are larger.

        Args:
            pieces: that it is cut into.
            cost: of restoring one, in estimated seconds of a slot; any unit that all clips share.
            find_cost: of finding one; 0: it is not a step of its own.
            weight: how much its class gets beside others. Few different ones should be in use.

        Raises:
            ValueError: no pieces, a weight that is not positive, or a negative cost.
        """
        if pieces < 1 or not weight > 0 or not cost >= 0 or not find_cost >= 0:
            raise ValueError("a clip has pieces, a positive weight and no negative cost")
        flow = self._queue.flow(pieces, weight)
        ticket, self._tickets = self._tickets, self._tickets + 1
        flow.waiting.push(Waiting(ticket, pieces, cost, find_cost))
        self._waiting[ticket] = flow
        return ticket

    def remove(self, ticket: int, now: float) -> tuple[Assignment, ...]:
        """Forget a clip, joined or cancelled. Returns the work on it that is to be cancelled."""
        self._waiting.pop(ticket, None)
        clip = self._clips.pop(ticket, None)
        return () if clip is None else self._stopped(clip, now)

    def pause(self, ticket: int) -> tuple[Assignment, ...]:
        """Begin nothing of it. Returns what is under way: it may go on, or be `returned`.

        Raises:
            KeyError: no such clip.
        """
        clip = self._clips.get(ticket) or self._begun(ticket)
        clip.paused = True
        return tuple(work for works in clip.running.values() for work in works)

    def resume(self, ticket: int) -> None:
        """Raises KeyError: no such clip."""
        clip = self._clips.get(ticket)
        if clip is None:
            if ticket not in self._waiting:
                raise KeyError(ticket)
            return
        clip.paused = False
        for task, avoid in clip.put_by:
            self._again.setdefault(avoid, deque()).append((clip, task))
        clip.put_by.clear()
        self._offer(clip)

    def joinable(self, ticket: int) -> bool:
        """Whether all its pieces are restored. Raises KeyError: no such clip."""
        return self.joined_to(ticket) is None

    def joined_to(self, ticket: int) -> int | None:
        """The first piece that is missing, before which all can be joined; None: none is.

        Raises:
            KeyError: no such clip.
        """
        if ticket in self._waiting:
            return 0
        row = self._clips[ticket].row
        return None if row.done else row.first

    # slots

    def next_for(
        self, name: Hashable, now: float, steps: Sequence[Step] = STEPS
    ) -> Assignment | None:
        """What a slot that has nothing to do should do.

        None: nothing at present. Ask again after any other call, or at `wake`. A slot that does
        not do all `steps` is given only what would be given next to any.

        Raises:
            ValueError: it has something to do.
        """
        slot = self._slots.get(name, now)
        if slot.work is not None:
            raise ValueError(f"{name!r} is at work")
        if name in self._slots.aside:
            return None
        task = self._next_again(slot, steps) or self._next_new(steps)
        if task is not None:
            return self._assign(*task, slot, now)
        if self._may_copy and len(steps) == len(STEPS):
            late = self._stragglers.pick(slot.pace, now)
            if late is not None:
                return self._assign(late.clip, late.task, slot, now, copy=True)
        return None

    def wake(self, now: float) -> float | None:
        """When `next_for` may give something though nothing else was called; None: never."""
        times = [self._slots.wake(), self._stragglers.wake() if self._may_copy else None]
        due = min((time for time in times if time is not None), default=None)
        return None if due is None else max(due, now + SOON_S)

    def finished(
        self, work: Assignment, now: float, *, restorable: int | None = None, told: bool = True
    ) -> Ended:
        """Its result is there; of several for one piece the first counts.

        Args:
            work: what was given.
            now: seconds.
            restorable: as many pieces of the clip can now be restored; None: by `Limits.reach`.
            told: whether its duration tells anything; not if it had been done before.
        """
        if not self._release(work):
            return Ended()
        slot, clip, task = work.holder, work.clip, work.task
        self._slots.succeeded(slot)
        ratio = self._stragglers.tell(work, now) if told else None
        if ratio is not None:
            slot.learn(ratio)
        others = tuple(clip.running.pop(task, ()))
        for other in others:
            self._drop(other, now)
        clip.blamed.pop(task, None)
        clip.row.finish(task, restorable)
        self._offer(clip)
        return Ended(first=True, cancel=others, joinable=clip.row.done)

    def failed(self, work: Assignment, now: float) -> Ended:
        """It has no result; another slot tries, unless that was one failure too many."""
        if not self._release(work):
            return Ended()
        self._redone_s += now - work.started
        self._slots.failed(work.holder, now)
        return self._back(work, now, avoid=work.slot, blame=0, most=self._limits.tries)

    def lost(self, name: Hashable, now: float) -> Ended:
        """A slot is gone, and with it its work. It is new when it asks again."""
        slot = self._slots.forget(name)
        work = slot and slot.work
        if not work or not self._release(work):
            return Ended()
        self._redone_s += now - work.started
        return self._back(work, now, avoid=_NOBODY, blame=1, most=self._limits.losses)

    def returned(self, work: Assignment, now: float) -> None:
        """It was stopped though nothing is wrong with it, as for a pause."""
        if self._release(work):
            self._redone_s += now - work.started
            self._back(work, now, avoid=_NOBODY, blame=None, most=0)

    def statistics(self) -> Statistics:
        """O(clips under way)."""
        clips = self._clips.values()
        return Statistics(
            waiting=len(self._waiting),
            begun=len(clips),
            paused=sum(clip.paused for clip in clips),
            running=self._running,
            copies=self._copies,
            slots=len(self._slots),
            aside=len(self._slots.aside),
            held=sum(clip.row.held for clip in clips),
            assigned=self._assigned,
            redone_s=self._redone_s,
            copied_s=self._copied_s,
        )

    # what they are made of

    @property
    def _may_copy(self) -> bool:
        return self._copies < max(1.0, self._limits.copies * len(self._slots))

    def _begun(self, ticket: int, waiting: Waiting | None = None) -> _Clip:
        """A clip that is not merely waiting any more."""
        flow = self._waiting.pop(ticket)
        waiting = waiting or flow.waiting.find(ticket)
        row = Row(waiting.pieces, waiting.cost, waiting.find_cost)
        clip = self._clips[ticket] = _Clip(ticket, row, flow)
        return clip

    def _offer(self, clip: _Clip) -> None:
        if not clip.queued and not clip.paused and not clip.row.exhausted:
            clip.queued = True
            clip.flow.push(clip)

    def _next_new(self, steps: Sequence[Step]) -> tuple[_Clip, Task] | None:
        limits = self._limits
        while (flow := self._queue.first()) is not None:
            clip = flow.head()
            if clip is None:
                waiting = flow.waiting.pop()
                if waiting.ticket in self._waiting:
                    self._offer(self._begun(waiting.ticket, waiting))
                continue
            task = None
            if clip.ticket in self._clips and not clip.paused:
                task = clip.row.take(limits.window, limits.reach, steps)
            if task is not None:
                self._queue.charge(flow, clip.row.cost_of(task))
                return clip, task
            if clip.ticket in self._clips and not clip.paused and len(steps) < len(STEPS):
                return None  # there may be something for others
            flow.pop().queued = False  # offered again when something of it has ended
        return None

    def _next_again(
        self, slot: Slot[Assignment], steps: Sequence[Step]
    ) -> tuple[_Clip, Task] | None:
        """Also by the slot that failed at it, where there is no other, or none that does all."""
        choosy = self._slots.usable > 1 and len(steps) == len(STEPS)
        while self._again:
            avoid = next(iter(self._again))
            if avoid == slot.name and choosy:
                others = iter(self._again)
                next(others)
                if (avoid := next(others, _NOBODY)) is _NOBODY:
                    return None
            bucket = self._again[avoid]
            if bucket[0][1].step not in steps:
                return None
            clip, task = bucket.popleft()
            if not bucket:
                del self._again[avoid]
            if clip.ticket not in self._clips:
                continue
            if not clip.paused:
                self._queue.charge(clip.flow, clip.row.cost_of(task))
                return clip, task
            clip.put_by.append((task, avoid))
        return None

    def _assign(
        self, clip: _Clip, task: Task, slot: Slot[Assignment], now: float, copy: bool = False
    ) -> Assignment:
        work = slot.work = Assignment(clip, task, slot, now, copy)
        clip.running.setdefault(task, []).append(work)
        self._assigned += 1
        self._running += 1
        self._copies += copy
        if self._limits.late < float("inf"):
            self._stragglers.watch(work)
        return work

    def _release(self, work: Assignment) -> bool:
        """Its slot is free. False: it was cancelled before, and its slot may be at other work."""
        works = work.clip.running.get(work.task, [])
        if work not in works:
            return False
        works.remove(work)
        if not works:
            del work.clip.running[work.task]
        self._running -= 1
        self._copies -= work.copy
        if work.holder.work is work:
            work.holder.work = None
        return True

    def _drop(self, work: Assignment, now: float) -> None:
        """It was of no use; it is not in its clip any more."""
        self._running -= 1
        self._copies -= work.copy
        self._copied_s += now - work.started
        if work.holder.work is work:
            work.holder.work = None

    def _stopped(self, clip: _Clip, now: float) -> tuple[Assignment, ...]:
        works = tuple(work for works in clip.running.values() for work in works)
        clip.running.clear()
        for work in works:
            self._drop(work, now)
        return works

    def _back(
        self, work: Assignment, now: float, *, avoid: Hashable, blame: int | None, most: int
    ) -> Ended:
        clip, task = work.clip, work.task
        if blame is not None:
            counts = clip.blamed.setdefault(task, [0, 0])
            counts[blame] += 1
            if counts[blame] >= most:
                return Ended(cancel=self.remove(clip.ticket, now), given_up=True)
        others = clip.running.get(task)
        if others:
            self._stragglers.watch(others[0])  # it may have a copy again
        elif clip.paused:
            clip.put_by.append((task, avoid))
        else:
            self._again.setdefault(avoid, deque()).append((clip, task))
        return Ended()
