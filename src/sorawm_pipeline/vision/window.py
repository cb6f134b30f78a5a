"""Deciding each frame by looking at the frames around it, while they stream past."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Lookaround(Generic[In, Out]):
    """Applies `decide` to each item once `reach` items on both sides of it are known.

    `decide(window, here)` gets the items around in order and the position of the one to decide; at
    the ends of a stream the window is cut short. One result comes out for each item that went in,
    in the same order, `reach` items later.
    """

    STATE = ("_window", "_here", "_decide")

    def __init__(self, reach: int, decide: Callable[[Sequence[In], int], Out]) -> None:
        self.reach = reach
        self._decide = decide
        self._window: deque[In] = deque()
        self._here = 0

    def push(self, item: In) -> list[Out]:
        self._window.append(item)
        return self._decided(self.reach)

    def flush(self) -> list[Out]:
        """Decide what is left and start afresh."""
        decided = self._decided(0)
        self._window.clear()
        self._here = 0
        return decided

    def _decided(self, ahead: int) -> list[Out]:
        decided = []
        while len(self._window) - self._here > ahead:
            decided.append(self._decide(self._window, self._here))
            self._here += 1
            if self._here > self.reach:
                self._window.popleft()
                self._here -= 1
        return decided
