"""One clip's pieces: what may be begun, in order, and how far ahead."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class Step(IntEnum):
    """What is done to a piece; finding comes first, where a clip is cut at all."""

    FIND = 0
    RESTORE = 1


STEPS = tuple(Step)


class Task(NamedTuple):
    step: Step
    piece: int


class Row:
    """A clip of which something was begun. Ranges, not objects for each piece.

    Finds are a chain: one at a time, in order. A piece may be restored once it and what it needs
    around it are found: `reach` pieces behind it, if whoever finds does not tell. Nothing is begun
    more than `window` pieces after the first one that is not restored, so a clip never holds more
    finished pieces than that before they can be joined; only where nothing can be restored, more is
    found.

    Attributes:
        pieces: how many.
        cost: of restoring one, in estimated seconds.
        find_cost: of finding one; 0: restoring does both, and there is no chain.
        first: the first piece that is not restored; all before are.
    """

    __slots__ = (
        *("_ahead", "_finding", "_found", "_next", "_restorable"),
        *("cost", "find_cost", "first", "pieces"),
    )

    def __init__(self, pieces: int, cost: float, find_cost: float) -> None:
        self.pieces = pieces
        self.cost = cost
        self.find_cost = find_cost
        self.first = 0
        self._next = 0
        self._found = 0 if find_cost else pieces
        self._restorable: int | None = None
        self._finding = False
        self._ahead: set[int] = set()

    @property
    def done(self) -> bool:
        return self.first == self.pieces

    @property
    def held(self) -> int:
        """Restored pieces that wait for one before them."""
        return len(self._ahead)

    @property
    def exhausted(self) -> bool:
        """Whether everything was begun."""
        return self._next == self.pieces  # nothing is restored that was not found

    def cost_of(self, task: Task) -> float:
        return self.find_cost if task.step is Step.FIND else self.cost

    def take(self, window: int, reach: int, steps: Sequence[Step] = STEPS) -> Task | None:
        """Begin what comes next: a find where there may be one, for all else waits for it."""
        enough = self._may_restore(reach)
        wanted = self._found < self.first + window + reach or self.first >= enough
        if Step.FIND in steps and not self._finding and self._found < self.pieces and wanted:
            self._finding = True
            return Task(Step.FIND, self._found)
        if Step.RESTORE in steps and self._next < min(self.pieces, self.first + window, enough):
            self._next += 1
            return Task(Step.RESTORE, self._next - 1)
        return None

    def _may_restore(self, reach: int) -> int:
        """Up to which piece enough is found."""
        if self._restorable is not None:
            return self._restorable
        return self.pieces if self._found == self.pieces else self._found - reach

    def finish(self, task: Task, restorable: int | None = None) -> None:
        """It is done; `restorable`: as many pieces may now be restored, told after a find."""
        if task.step is Step.FIND:
            self._finding = False
            self._found += 1
            self._restorable = restorable
            return
        self._ahead.add(task.piece)
        while self.first in self._ahead:
            self._ahead.remove(self.first)
            self.first += 1
