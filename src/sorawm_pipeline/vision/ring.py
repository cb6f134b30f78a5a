"""The part of a place that no mark covers, and what follows from where it lies alone."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Whole = NDArray[np.intp]

SAMPLES = 1000
"""Pixels that a movement is fitted to, about."""

SAMPLED = 3
"""Distance in pixels of the samples that tell the noise."""

SPREAD = 5.0
"""Pixels (sigma) over which misfit is averaged: what motion fails to explain in the ring counts
under the mark too."""

FAR = 0.01
"""Share of samples that the ring as a whole counts for where none of it is near."""

ALIKE = 8.0
"""Neighbouring fills err alike: so many of them are worth one."""


class Ring:
    """The ring around a mark. It stays what it is over most of a run, so all of this is told once.

    Args:
        known: (h, w), where no mark covers the place.
    """

    def __init__(self, known: Bools) -> None:
        self.known = known

    @cached_property
    def weight(self) -> Floats:
        """1 where it lies, else 0, (h, w)."""
        return self.known.astype(np.float32)

    @cached_property
    def size(self) -> float:
        """Pixels of it."""
        return float(np.count_nonzero(self.known))

    @cached_property
    def near(self) -> Floats:
        """Share of it in the neighbourhood of each pixel of half the resolution, above FAR."""
        return smoothed(self.weight) + np.float32(FAR)

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """255 where it lies, else 0, (h, w), as OpenCV takes it."""
        return self.known.astype(np.uint8) * np.uint8(255)

    @cached_property
    def alike(self) -> Floats:
        """How many neighbouring samples are worth one, (h, w): ALIKE off the ring, else 1."""
        return np.where(self.known, np.float32(1), np.float32(ALIKE))

    @cached_property
    def some(self) -> Whole:
        """Flat indices of those of every third row and column."""
        grid = np.zeros_like(self.known)
        grid[::SAMPLED, ::SAMPLED] = True
        return np.flatnonzero(self.known & grid)

    @cached_property
    def samples(self) -> Whole:
        """Flat indices of a thousand, spread evenly, whose neighbours lie in it as well."""
        inner = cv2.erode(self.known.astype(np.uint8), np.ones((3, 3), np.uint8))
        at = np.flatnonzero(inner)
        return at[:: max(1, len(at) // SAMPLES)]

    @cached_property
    def at(self) -> Floats:
        """Where the samples are, x and y (1, n, 2)."""
        rows, columns = np.divmod(self.samples, self.known.shape[1])
        return np.stack([columns, rows], 1).astype(np.float32)[None]

    @cached_property
    def terms(self) -> Floats:
        """1, x and y (3, n) of the samples, in coordinates of about one around the middle."""
        high, wide = self.known.shape
        across, down = ((self.at[0] - (wide / 2, high / 2)) / (wide, high)).T
        return np.stack([np.ones_like(across), across, down]).astype(np.float32)


def smoothed(plane: Floats) -> Floats:
    """The mean of a plane (h, w) over SPREAD, in half its resolution."""
    high, wide = plane.shape
    half = cv2.resize(plane, ((wide + 1) // 2, (high + 1) // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(half, (0, 0), SPREAD / 2), np.float32)
