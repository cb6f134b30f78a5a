"""Noticing that something may have appeared, without a detector: sudden local change."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Plane
from sorawm_pipeline.snapshot import value

Floats = NDArray[np.float32]

LONG_SIDE = 160
"""Cells along the long side of the picture that changes are looked for in."""

ROWS = 2
"""Rows of a cell that are looked at, at least; all of their pixels are."""

WINDOW = (5, 3)
"""Cells, across and down, over which a change is averaged: a small mark."""

SUDDEN = 6.0
"""Change, in 8-bit steps, by which a place must exceed what it showed before and after."""

PERSISTENT = 1.5
"""A change counts as sudden only beyond this many times the changes before and after it."""

CUT = 12.0
"""Median change by which a picture must exceed those before and after it to be a new scene's."""


class Surprise(NamedTuple):
    """A place that changed at once in frame `frame`.

    Attributes:
        box: in stored-picture pixels.
        strength: of the change, in 8-bit steps.
        cut: whether a new scene begins.
    """

    frame: int
    box: Box
    strength: float
    cut: bool


@value
class _Change(NamedTuple):
    """How sudden the change of each cell was, float32 (h, w) in 8-bit steps."""

    frame: int
    excess: Floats
    cut: bool


class Novelty:
    """Compares each picture, much reduced, with the one before it.

    An overlay that comes or goes changes its place in one frame, and not in the frames around it;
    what moves changes its place in all of them.
    """

    STATE = ("_last", "_changes", "_cell", "_found")

    def __init__(self, depth: int) -> None:
        self._scale = np.float32(2.0 ** (8 - depth))
        self._last: Floats | None = None
        self._changes: deque[tuple[int, Floats, Floats]] = deque(maxlen=3)
        self._cell = 1
        self._found: list[_Change] = []

    def push(self, index: int, luma: Plane) -> None:
        """Take the next frame's luma plane (h, w)."""
        height, width = luma.shape
        self._cell = max(1, max(height, width) // LONG_SIDE)
        size = max(1, width // self._cell), max(1, height // self._cell)
        rows = luma[:: max(1, self._cell // ROWS)]
        if self._cell > ROWS:  # by two it is many times as fast as by any other number
            half = rows.shape[1] // 2, rows.shape[0] // 2
            rows = cv2.resize(rows, half, interpolation=cv2.INTER_AREA)
        small = cv2.resize(rows.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        small *= self._scale
        if self._last is not None:
            change = small - self._last
            # Of one sign: an overlay pulls all it covers towards its colour.
            local = cv2.blur(change, WINDOW)
            self._changes.append((index, np.abs(local, out=local), np.abs(change, out=change)))
            if len(self._changes) == self._changes.maxlen:
                self._judge()
        self._last = small

    def take(self, last: int, known: Sequence[Box]) -> list[Surprise]:
        """The strongest surprise of each frame up to `last`, the strongest first; told once.

        What changed in the boxes `known` is explained, and hides nothing that changed elsewhere.
        """
        ready = [change for change in self._found if change.frame <= last]
        self._found = [change for change in self._found if change.frame > last]
        told = [found for change in ready if (found := self._surprise(change, known)) is not None]
        return sorted(told, key=lambda surprise: -surprise.strength)

    def _judge(self) -> None:
        (_, before, usual), (index, change, here), (_, after, later) = self._changes
        excess = np.maximum(before, after)
        excess *= np.float32(PERSISTENT)
        np.subtract(change, excess, out=excess)
        cut = False
        if 2 * here.mean() >= CUT:  # a median is at most twice the mean, which is cheaper
            median, *others = (float(np.median(one)) for one in (here, usual, later))
            cut = median - PERSISTENT * max(others) >= CUT
        if cut or excess.max() >= SUDDEN:
            self._found.append(_Change(index, excess, cut))

    def _surprise(self, change: _Change, known: Sequence[Box]) -> Surprise | None:
        cell = self._cell
        across, down = WINDOW[0] // 2, WINDOW[1] // 2
        excess = change.excess.copy()
        for box in known:
            rows = slice(max(0, box.y0 // cell - down), max(0, -(-box.y1 // cell) + down))
            columns = slice(max(0, box.x0 // cell - across), max(0, -(-box.x1 // cell) + across))
            excess[rows, columns] = 0
        _, strength, _, (x, y) = cv2.minMaxLoc(excess)
        if strength < SUDDEN and not change.cut:
            return None
        box = Box(
            max(0, x - across - 1) * cell,
            max(0, y - down - 1) * cell,
            (x + across + 2) * cell,
            (y + down + 2) * cell,
        )
        return Surprise(change.frame, box, strength, change.cut)
