"""One clip's pieces: what may be begun, in order, and how far ahead."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Step(IntEnum):
    """What is done to a piece; finding comes first, where a clip is cut at all."""

    FIND = 0
    RESTORE = 1


class Task(NamedTuple):
    step: Step
    piece: int


class Row:
    """A clip of which something was begun. Ranges, not objects for each piece.

    Finds are a chain: one at a time, in order. A piece may be restored once it and `reach` pieces
    behind it are found. Nothing is begun more than `window` pieces after the first one that is not
    restored, so a clip never holds more finished pieces than that before they can be joined.

    Attributes:
        pieces: how many.
        cost: of restoring one, in estimated seconds.
        find_cost: of finding one; 0: restoring does both, and there is no chain.
        first: the first piece that is not restored; all before are.
    """

    __slots__ = ("_ahead", "_finding", "_found", "_next", "cost", "find_cost", "first", "pieces")

    def __init__(self, pieces: int, cost: float, find_cost: float) -> None:
        self.pieces = pieces
        self.cost = cost
        self.find_cost = find_cost
        self.first = 0
        self._next = 0
        self._found = 0 if find_cost else pieces
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

    def take(self, window: int, reach: int) -> Task | None:
        """Begin what comes next: a find where there may be one, for all else waits for it."""
        may_find = min(self.pieces, self.first + window + reach)
        if not self._finding and self._found < may_find:
            self._finding = True
            return Task(Step.FIND, self._found)
        may_restore = min(self.pieces, self.first + window)
        if self._next < may_restore and self._found >= min(self.pieces, self._next + 1 + reach):
            self._next += 1
            return Task(Step.RESTORE, self._next - 1)
        return None

    def finish(self, task: Task) -> None:
        if task.step is Step.FIND:
            self._finding = False
            self._found += 1
            return
        self._ahead.add(task.piece)
        while self.first in self._ahead:
            self._ahead.remove(self.first)
            self.first += 1
