"""What a corridor measures about itself, and the frozen readings it gives out.

Between opening and closing, a stage is at any moment in one of three activities, and their times
add up to that whole time. The stage that hardly ever waits is the bottleneck: those before it
wait for room, those after it for input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class Activity(IntEnum):
    """What a stage does with its time."""

    BUSY = 0
    WAIT_IN = 1
    WAIT_OUT = 2
    NONE = 3  # opening, closing, closed


@dataclass(frozen=True, slots=True)
class StageSnapshot:
    """One stage so far.

    Attributes:
        items: items it has taken (the source: has read).
        batches: calls of `process` (the source: of `read`) that these came in.
        busy_s: seconds in `read`, `process` and `flush`, from handing the call to the thread to
            having its result; opening and closing are not work.
        wait_in_s: seconds waiting for input; high means that it is starved.
        wait_out_s: seconds waiting for room downstream; high means that it is held back.
    """

    items: int
    batches: int
    busy_s: float
    wait_in_s: float
    wait_out_s: float


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """One channel: how many items fit, are queued now, and were queued at most."""

    capacity: int
    queued: int
    peak: int


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """Live items: read from the source and not yet consumed by the sink.

    Attributes:
        bound: what `peak` can never exceed.
        now: live at this moment; 0 after a complete run.
        peak: most that were live at once.
    """

    bound: int
    now: int
    peak: int


@dataclass(frozen=True, slots=True)
class CorridorSnapshot:
    """A whole corridor at one moment.

    Attributes:
        stages: by name, in order, the source first.
        queues: by "from->to", in order.
        live: live items and their bound.
        consumed: items that have come out at the end.
    """

    stages: dict[str, StageSnapshot]
    queues: dict[str, QueueSnapshot]
    live: LiveSnapshot
    consumed: int


class StageProbe:
    """Counts and times one stage; used from the loop thread only."""

    __slots__ = ("_activity", "_clock", "_seconds", "_since", "batches", "items")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.items = 0
        self.batches = 0
        self._clock = clock
        self._seconds = [0.0, 0.0, 0.0, 0.0]
        self._activity = Activity.NONE
        self._since = clock()

    def enter(self, activity: Activity) -> None:
        now = self._clock()
        self._seconds[self._activity] += now - self._since
        self._activity = activity
        self._since = now

    def count(self, items: int) -> None:
        self.items += items
        self.batches += 1

    def snapshot(self) -> StageSnapshot:
        """Return the figures, with the activity under way counted up to now."""
        self.enter(self._activity)
        busy, wait_in, wait_out, _ = self._seconds
        return StageSnapshot(self.items, self.batches, busy, wait_in, wait_out)


class LiveCount:
    """Counts items from the source's `read` to the sink's `process`."""

    __slots__ = ("bound", "consumed", "emitted", "peak")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.emitted = 0
        self.consumed = 0
        self.peak = 0

    @property
    def now(self) -> int:
        return self.emitted - self.consumed

    def emit(self, items: int) -> None:
        self.emitted += items
        self.peak = max(self.peak, self.now)

    def snapshot(self) -> LiveSnapshot:
        return LiveSnapshot(self.bound, self.now, self.peak)
