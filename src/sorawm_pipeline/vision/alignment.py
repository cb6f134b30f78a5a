"""How a place has moved from frame to frame, told by the pixels around its mark alone.

Dense flow is no help here: near a mark it is drawn towards the mark, which stands still, or to the
errors of a fill. One affine movement is fitted instead to the brightness of the pixels that no mark
covers, by Gauss-Newton steps in which outliers count little (Baker and Matthews, "Lucas-Kanade 20
years on: a unifying framework", 2004; Cauchy weights).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

SAMPLES, FEWEST = 1000, 200
"""Pixels that a movement is fitted to, about, and least of them."""

SHIFT, AFFINE = 1, 3
"""Terms of a movement that is the same everywhere, and of an affine one."""

STEPS = 4
"""Gauss-Newton steps for a shift, then for an affine movement."""

SHARED = 0.3
"""Least share of the samples that must still be in the picture after a movement."""

USUAL = 2.0
"""Error, in medians of all errors, at which a sample counts half; and least grey levels of it."""

GREY = 6.0
"""Grey levels up to which a difference counts by its square, and beyond hardly more."""

SETTLED = 0.01
"""Pixels by which a step must change a movement somewhere, for another to be taken."""

WORTH = 0.95
"""A movement must leave no more than this share of the difference that standing still leaves."""

EXPLAINED = 0.1
"""Share from which a movement like the last one is taken for found without a search."""

SPARSE = 7
"""Of the flow around the mark, one in so many is enough for its median."""

Movement = NDArray[np.float64]
"""Affine (2, 3): where (x, y, 1) of one frame is in another, as `cv2.warpAffine` takes it."""


def standing() -> Movement:
    return np.eye(2, 3)


def joined(first: Movement, then: Movement) -> Movement:
    """One movement after another."""
    return np.asarray(np.vstack([then, [0, 0, 1]])[:2] @ np.vstack([first, [0, 0, 1]]))


def inverse(movement: Movement) -> Movement:
    return np.asarray(cv2.invertAffineTransform(movement), np.float64)


def farthest(movement: Movement, high: int, wide: int) -> float:
    """The longest way in pixels, across or down, that any pixel of a place (high, wide) goes."""
    corners = np.array([[0, wide, 0, wide], [0, 0, high, high], [1, 1, 1, 1]], np.float64)
    return float(np.abs(movement @ corners - corners[:2]).max())


def movement(here: Floats, there: Floats, known: Bools, last: Movement) -> Movement:
    """The movement of a place from one frame to another.

    Args:
        here: luma (h, w), grey levels.
        there: the same of the other frame.
        known: (h, w), where no mark covers `here`.
        last: the movement before, which this one may resemble.
    """
    ring = _Ring(here, known)
    if len(ring.at) < FEWEST:
        return standing()
    still = ring.left(there, standing())
    stood = bool((last == standing()).all())
    found, left = ring.fitted(there, last) if stood else ring.refined(there, last)
    if left > EXPLAINED * still:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow = search.calc(_bytes(here), _bytes(there), None)
        shift = standing()
        shift[:, 2] = np.median(flow[known][::SPARSE], axis=0)
        starts = [shift] if stood else [shift, last, standing()]
        others = (ring.fitted(there, start) for start in starts)
        found, left = min((found, left), *others, key=lambda pair: pair[1])
    # In flat surroundings any movement may do: it must do better than none.
    return found if left < WORTH * still else standing()


class _Ring:
    """Samples of what is seen around a mark in one frame.

    Attributes:
        at: (n, 2), x and y.
    """

    def __init__(self, luma: Floats, known: Bools) -> None:
        high, wide = luma.shape
        inner = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8))
        rows, columns = np.nonzero(inner)
        step = max(1, len(rows) // SAMPLES)
        rows, columns = rows[::step], columns[::step]
        self.at = np.stack([columns, rows], 1).astype(np.float32)
        self._last = np.array([wide - 1, high - 1], np.float32)
        self._luma = luma[rows, columns]
        slope = [
            cv2.Sobel(luma, cv2.CV_32F, *way, scale=1 / 8)[rows, columns]
            for way in ((1, 0), (0, 1))
        ]
        # Coordinates of about one, so that the terms of a movement weigh alike.
        self._middle, self._size = (wide / 2, high / 2), (wide, high)
        across, down = ((self.at - self._middle) / self._size).T
        terms = np.stack([np.ones_like(across), across, down], 1)
        self._slopes = (terms[:, :, None] * np.stack(slope, 1)[:, None, :]).astype(np.float32)

    def left(self, there: Floats, way: Movement) -> float:
        """The difference to another frame that is left after a movement to it."""
        return _cost(self._misfit(there, way))

    def refined(self, there: Floats, start: Movement) -> tuple[Movement, float]:
        """An affine movement near `start`; how much of the difference it leaves."""
        return self._better(there, start, AFFINE)

    def fitted(self, there: Floats, start: Movement) -> tuple[Movement, float]:
        """A movement that leaves little of the difference to another frame; how much."""
        shift = self._better(there, start, SHIFT)
        return min(shift, self._better(there, shift[0], AFFINE), key=lambda found: found[1])

    def _misfit(self, there: Floats, way: Movement) -> Floats:
        """The samples' difference (n) after a movement; nan where it leads out of the picture."""
        at = (self.at @ way[:, :2].T + way[:, 2]).astype(np.float32)
        moved = cv2.remap(
            there, at[:, 0], at[:, 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        off = np.asarray(moved.ravel() - self._luma, np.float32)
        off[((at < 0) | (at > self._last)).any(1)] = np.nan
        return off

    def _better(self, there: Floats, way: Movement, terms: int) -> tuple[Movement, float]:
        """The best of some steps from a movement, by its first `terms` terms."""
        slopes = self._slopes[:, :terms].reshape(len(self.at), -1)
        best, least = way, np.inf
        for _ in range(STEPS + 1):
            off = self._misfit(there, way)
            left = _cost(off)
            if left < least:
                best, least = way, left
            if left == np.inf:
                break
            inside = np.isfinite(off)
            usual = USUAL * max(middle(np.abs(off[inside])), 1.0)
            off[~inside] = 0
            weight = inside / (1 + (off / np.float32(usual)) ** 2)
            weighted = slopes.T * weight
            normal = weighted @ slopes
            normal.flat[:: len(normal) + 1] += 1e-3 * normal.trace() / len(normal) + 1e-3
            change = np.linalg.solve(normal, weighted @ off).reshape(terms, 2)
            if np.abs(change).max() < SETTLED:
                break
            way = way - self._matrix(change)
        return best, least

    def _matrix(self, terms: NDArray[np.float64]) -> Movement:
        """What terms (1 or 3, 2) in centred coordinates add to a movement."""
        added = np.zeros((2, 3))
        added[:, 2] = terms[0]
        for term, middle, size, column in zip(
            terms[1:], self._middle, self._size, range(2), strict=False
        ):
            added[:, column] += term / size
            added[:, 2] -= term * middle / size
        return added


def middle(values: Floats) -> float:
    """The upper median of values (n), n > 0; in a tenth of the time of numpy's."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])


def _cost(off: Floats) -> float:
    """How large a difference (n, nan where there is none) is, outliers counting little."""
    seen = off[np.isfinite(off)]
    if len(seen) <= SHARED * len(off):
        return np.inf
    return float(np.mean(np.log1p((seen / np.float32(GREY)) ** 2)))


def _bytes(luma: Floats) -> NDArray[np.uint8]:
    return np.clip(luma, 0, 255).astype(np.uint8)
