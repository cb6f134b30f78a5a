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

from sorawm_pipeline.vision.ring import Bools, Floats, Ring

FEWEST = 200
"""Samples that a movement is fitted to, at least."""

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

SETTLED = 1 / 32
"""Pixels by which a step must change a movement somewhere, for another to be taken: `cv2.remap`
looks no finer."""

WORTH = 0.95
"""A movement must leave no more than this share of the difference that standing still leaves."""

EXPLAINED = 0.1
"""Share from which a movement like the last one is taken for found without a search."""

FAINT = 0.01
"""Difference up to which nothing is searched for: it is that of noise of half a grey level."""

SPARSE = 7
"""Of the flow around the mark, one in so many is enough for its median."""

Movement = NDArray[np.float64]
"""Affine (2, 3): where (x, y, 1) of one frame is in another, as `cv2.warpAffine` takes it."""


def standing() -> Movement:
    return np.eye(2, 3)


def joined(first: Movement, then: Movement) -> Movement:
    """One movement after another."""
    both = then[:, :2] @ first
    both[:, 2] += then[:, 2]
    return both


def inverse(movement: Movement) -> Movement:
    return np.asarray(cv2.invertAffineTransform(movement), np.float64)


def farthest(movement: Movement, high: int, wide: int) -> float:
    """The longest way in pixels, across or down, that any pixel of a place (high, wide) goes."""
    corners = np.array([[0, wide, 0, wide], [0, 0, high, high], [1, 1, 1, 1]], np.float64)
    return float(np.abs(movement @ corners - corners[:2]).max())


def movement(here: Floats, there: Floats, ring: Ring, last: Movement) -> Movement:
    """The movement of a place from one frame to another.

    Args:
        here: luma (h, w), grey levels.
        there: the same of the other frame.
        ring: where no mark covers `here`.
        last: the movement before, which this one may resemble.
    """
    if len(ring.samples) < FEWEST:
        return standing()
    samples = _Samples(here, ring)
    still = samples.left(there, standing())
    stood = bool((last == standing()).all())
    found, left = samples.fitted(there, last) if stood else samples.refined(there, last)
    if left > max(EXPLAINED * still, FAINT):
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow = search.calc(_bytes(here), _bytes(there), None)
        shift = standing()
        shift[:, 2] = np.median(flow[ring.known][::SPARSE], axis=0)
        starts = [shift] if stood else [shift, last, standing()]
        others = (samples.fitted(there, start) for start in starts)
        found, left = min((found, left), *others, key=lambda pair: pair[1])
    # In flat surroundings any movement may do: it must do better than none.
    return found if left < WORTH * still else standing()


class _Samples:
    """What is seen around a mark in one frame."""

    def __init__(self, luma: Floats, ring: Ring) -> None:
        high, wide = luma.shape
        self._at = ring.at
        self._size = wide, high
        self._luma = luma.take(ring.samples)
        slopes = [
            cv2.Sobel(luma, cv2.CV_32F, *way, scale=1 / 8).take(ring.samples)
            for way in ((1, 0), (0, 1))
        ]
        self._slopes = (ring.terms[:, None] * np.stack(slopes)).reshape(-1, len(ring.samples))

    def left(self, there: Floats, way: Movement) -> float:
        """The difference to another frame that is left after a movement to it."""
        *_, seen = self._misfit(there, way)
        return self._cost(seen)

    def refined(self, there: Floats, start: Movement) -> tuple[Movement, float]:
        """An affine movement near `start`; how much of the difference it leaves."""
        return self._better(there, start, AFFINE)

    def fitted(self, there: Floats, start: Movement) -> tuple[Movement, float]:
        """A movement that leaves little of the difference to another frame; how much."""
        shift = self._better(there, start, SHIFT)
        return min(shift, self._better(there, shift[0], AFFINE), key=lambda found: found[1])

    def _misfit(self, there: Floats, way: Movement) -> tuple[Floats, Bools | None, Floats]:
        """What a movement leaves of the samples' difference.

        Returns:
            The difference (n); which samples it leads into the picture, None if all of them; the
            difference of these alone.
        """
        at = cv2.transform(self._at, way)
        moved = cv2.remap(there, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        wide, high = self._size
        off = np.asarray(moved[0] - self._luma, np.float32)
        inside = cv2.inRange(at, (0, 0, 0, 0), (wide - 1, high - 1, 0, 0))[0] > 0
        if inside.all():
            return off, None, off
        return off, inside, off[inside]

    def _cost(self, seen: Floats) -> float:
        """How large the difference of the samples that are seen is, outliers counting little."""
        if len(seen) <= SHARED * len(self._luma):
            return np.inf
        cost = seen / np.float32(GREY)
        cost *= cost
        return cv2.mean(np.log1p(cost, out=cost))[0]

    def _better(self, there: Floats, way: Movement, terms: int) -> tuple[Movement, float]:
        """The best of some steps from a movement, by its first `terms` terms."""
        slopes = self._slopes[: 2 * terms]
        best, least = way, np.inf
        for _ in range(STEPS + 1):
            off, inside, seen = self._misfit(there, way)
            left = self._cost(seen)
            if left < least:
                best, least = way, left
            if left == np.inf:
                break
            usual = USUAL * max(middle(np.abs(seen)), 1.0)
            weight = off / np.float32(usual)
            weight *= weight
            weight += 1
            np.divide(1 if inside is None else inside, weight, out=weight)
            weighted = slopes * weight
            normal = weighted @ slopes.T
            normal.flat[:: len(normal) + 1] += 1e-3 * normal.trace() / len(normal) + 1e-3
            _, solved = cv2.solve(normal, weighted @ off[:, None], flags=cv2.DECOMP_CHOLESKY)
            change = np.asarray(solved, np.float32).reshape(terms, 2)
            if np.abs(change).max() < SETTLED:
                break
            way = way - self._matrix(change)
        return best, least

    def _matrix(self, terms: Floats) -> Movement:
        """What terms (1 or 3, 2) in centred coordinates add to a movement."""
        added = np.zeros((2, 3))
        added[:, 2] = terms[0]
        for term, size, column in zip(terms[1:], self._size, range(2), strict=False):
            added[:, column] += term / size
            added[:, 2] -= term * (size / 2) / size
        return added


def middle(values: Floats) -> float:
    """The upper median of values (n), n > 0; in a tenth of the time of numpy's."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])


def _bytes(luma: Floats) -> NDArray[np.uint8]:
    return np.clip(luma, 0, 255).astype(np.uint8)
