"""Noticing that something may have appeared, without a detector: sudden local change."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Plane

Floats = NDArray[np.float32]

LONG_SIDE = 160
"""Cells along the long side of the picture that changes are looked for in."""

WINDOW = (5, 3)
"""Cells, across and down, over which a change is averaged: a small mark."""

SUDDEN = 6.0
"""Change, in 8-bit steps, by which a place must exceed what it showed before and after."""

PERSISTENT = 1.5
"""A change counts as sudden only beyond this many times the changes before and after it."""

CUT = 12.0
"""Median change of a picture from which it counts as a new scene."""


class Surprise(NamedTuple):
    """A place that changed at once in frame `frame`.

    Attributes:
        box: in stored-picture pixels; all of the picture at a cut.
        strength: of the change, in 8-bit steps.
        cut: whether a new scene begins.
    """

    frame: int
    box: Box
    strength: float
    cut: bool


class Novelty:
    """Compares each picture, much reduced, with the one before it.

    An overlay that comes or goes changes its place in one frame, and not in the frames around it;
    what moves changes its place in all of them.
    """

    def __init__(self, depth: int) -> None:
        self._scale = np.float32(2.0 ** (8 - depth))
        self._last: Floats | None = None
        self._changes: deque[tuple[int, Floats, float]] = deque(maxlen=3)
        self._cell = 1
        self._found: list[Surprise] = []

    def push(self, index: int, luma: Plane) -> None:
        """Take the next frame's luma plane (h, w)."""
        height, width = luma.shape
        self._cell = max(1, max(height, width) // LONG_SIDE)
        size = max(1, width // self._cell), max(1, height // self._cell)
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        small *= self._scale
        if self._last is not None:
            change = small - self._last
            # Of one sign: an overlay pulls all it covers towards its colour.
            local = np.abs(cv2.blur(change, WINDOW))
            self._changes.append((index, local, float(np.median(np.abs(change)))))
            if len(self._changes) == self._changes.maxlen:
                self._judge()
        self._last = small

    def take(self, last: int) -> list[Surprise]:
        """Surprises of frames up to `last`, the strongest first; they are told once."""
        told = [surprise for surprise in self._found if surprise.frame <= last]
        self._found = [surprise for surprise in self._found if surprise.frame > last]
        return sorted(told, key=lambda surprise: -surprise.strength)

    def _judge(self) -> None:
        (_, before, _), (index, change, median), (_, after, _) = self._changes
        if median >= CUT:
            height, width = change.shape
            everywhere = Box(0, 0, width * self._cell, height * self._cell)
            self._found.append(Surprise(index, everywhere, median, cut=True))
            return
        excess = change - np.float32(PERSISTENT) * np.maximum(before, after)
        _, strength, _, (x, y) = cv2.minMaxLoc(excess)
        if strength >= SUDDEN:
            reach_x, reach_y = WINDOW[0] // 2 + 1, WINDOW[1] // 2 + 1
            cell = self._cell
            box = Box(
                max(0, x - reach_x) * cell,
                max(0, y - reach_y) * cell,
                (x + reach_x + 1) * cell,
                (y + reach_y + 1) * cell,
            )
            self._found.append(Surprise(index, box, strength, cut=False))
