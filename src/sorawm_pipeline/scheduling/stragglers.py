"""What takes too long, and whether another slot would be done with it sooner.

Backup tasks: Dean and Ghemawat, "MapReduce", OSDI 2004. That a copy goes to what would end last,
never to a slow slot, and only so many at once: Zaharia et al., "Improving MapReduce Performance in
Heterogeneous Environments" (LATE), OSDI 2008.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import exp
from typing import Generic, Protocol, TypeVar

from sorawm_pipeline.scheduling.row import Step

LOOKS = 4
"""Assignments that are looked at in one call."""


class Typical:
    """The median of what is told, followed by steps of 2% (Robbins and Monro, 1951).

    Attributes:
        value: seconds for each estimated second; None before anything was told.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._told = 0

    def tell(self, ratio: float) -> None:
        self._told += 1
        if self.value is None:
            self.value = ratio
        elif ratio != self.value:
            step = max(0.02, 0.5 / self._told)
            self.value *= exp(step if ratio > self.value else -step)


class Under(Protocol):
    """Work under way on a slot.

    Attributes:
        pace: of the slot: its seconds for each of a typical slot.
        lone: whether it runs, and nobody else does the same.
    """

    started: float
    cost: float

    @property
    def step(self) -> Step: ...
    @property
    def pace(self) -> float: ...
    @property
    def lone(self) -> bool: ...


U = TypeVar("U", bound=Under)


class Stragglers(Generic[U]):
    """Work under way, by when it begins to be late.

    Args:
        late: times the typical duration after which work is late.
    """

    def __init__(self, late: float) -> None:
        self._late = late
        self._typical = {step: Typical() for step in Step}
        self._heap: list[tuple[float, int, U]] = []
        self._order = count()

    def typical_s(self, step: Step, cost: float) -> float | None:
        """How long that takes on a typical slot, in seconds."""
        ratio = self._typical[step].value
        return None if ratio is None or cost == 0 else ratio * cost

    def tell(self, work: U, now: float) -> float | None:
        """It is done. Returns its duration beside the typical one."""
        if work.cost == 0 or now <= work.started:
            return None
        typical = self._typical[work.step]
        typical.tell((now - work.started) / work.cost)
        assert typical.value is not None
        return (now - work.started) / (work.cost * typical.value)

    def watch(self, work: U) -> None:
        expected = self.typical_s(work.step, work.cost)
        # Before anything is known, it is looked at again at once, when a slot has nothing to do.
        self._push(work.started + self._late * (expected or 0.0), work)

    def wake(self) -> float | None:
        """When something may be late, at the earliest."""
        while self._heap and not self._heap[0][2].lone:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pick(self, pace: float, now: float) -> U | None:
        """What a slot of that pace should do once more.

        Work that is late already is taken to need as long again as it took: such durations have
        heavy tails (the mean residual life of a Pareto distribution with exponent 2).
        """
        for _ in range(LOOKS):
            due = self.wake()
            if due is None or due > now:
                return None
            work = heappop(self._heap)[2]
            expected = self.typical_s(work.step, work.cost)
            if expected is None:
                self._push(now + 1.0, work)
                continue
            elapsed = now - work.started
            if elapsed < self._late * expected:
                self._push(work.started + self._late * expected, work)
                continue
            own = expected * work.pace
            left = own - elapsed if elapsed < own else elapsed
            if left > expected * pace:
                return work
            self._push(now + expected / 4, work)
        return None

    def _push(self, due: float, work: U) -> None:
        heappush(self._heap, (due, next(self._order), work))
