"""Carrying what is known of a place along its motion, from the frames around to the one at hand.

A place is filtered as Kalman did: an estimate of the picture travels with the motion, its variance
grows where the motion does not explain what is seen, and each frame's own fill is weighed against
it. Where the place was free, or the scene has moved out from under the mark, the estimate is the
true picture, and outweighs any fill. Filtered from both sides (Rauch's two-filter smoother).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

KNOWN = 0.5
"""Variance, in squared 8-bit steps, of a sample that no mark covers."""

BLIND = 10000.0
"""Variance of a fill that was made up from its surroundings; it says nothing about motion."""

DRIFT = 0.3
"""Variance that one frame's step along the motion adds."""

COMMON = 0.3
"""Share of a fill's variance that is the same in all frames, and so cannot be averaged away."""

SPREAD = 5.0
"""Pixels (sigma) over which misfit is averaged: what motion fails to explain in the ring counts
under the mark too."""

EXPECTED = 4.0
"""Misfit, in variances, that needs no other explanation than chance."""

GRAIN = 12.0
"""Most variance between frames that is put down to noise."""

ALIKE = 8.0
"""Neighbouring fills err alike: so many of them are worth one."""

FAR = 0.01
"""Share of samples that the ring as a whole counts for where none of it is near."""

LOST = 200.0
"""Misfit from which what is carried counts for less than its variance: it may be anything."""

STANDING = 0.3
"""Mean squared change of the ring below which a scene stands, without looking for motion."""

WORTH = 0.95
"""A movement must leave no more than this share of the change that standing still leaves."""

BENT = 1.5
"""Dense motion must explain a pixel so many times better than the movement as a whole."""

SAMPLED, FEWEST = 6, 30
"""Distance in pixels of the samples that an affine movement is fitted to, and least of them."""

STILL = 0.15
"""Motion in pixels below which a scene stands: moving it would only blur it."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one frame shows of a place, in 8-bit steps.

    Attributes:
        luma: (h, w), filled where a mark is.
        chroma: (h_c, w_c, n) the other planes; n may be 0.
        variance: (h, w) of luma, squared steps: KNOWN where no mark is.
    """

    luma: Floats
    chroma: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class Paths:
    """Two accounts of the motion from one sight of a place to another, (h, w, 2) each.

    For each pixel of the one, how far right and down it is in the other.

    Attributes:
        dense: each pixel by itself.
        whole: all as one affine movement, which the pixels that no mark covers agree on; None if
            that says the same.
    """

    dense: Floats
    whole: Floats | None


class Motion:
    """Motion between two sights of a place, and moving a sight along it.

    Kroeger et al., "Fast optical flow using dense inverse search", 2016, as OpenCV has it.
    """

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._grids: dict[tuple[int, ...], tuple[Floats, Floats]] = {}

    def between(self, here: Sight, there: Sight) -> Paths:
        """The motion from `here` to `there`."""
        ring = here.variance <= KNOWN
        unmoved = _mismatch(here.luma, there.luma, ring)
        if unmoved < STANDING:
            return Paths(np.zeros((*here.luma.shape, 2), np.float32), None)
        flow = np.asarray(self._search.calc(_bytes(here.luma), _bytes(there.luma), None))
        whole = _affine(flow, ring)
        moved = cv2.remap(
            there.luma, *self._at(whole), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        # In flat surroundings flow may be anything: a movement must explain them better than none.
        if _mismatch(here.luma, np.asarray(moved, np.float32), ring) > WORTH * unmoved:
            whole = np.zeros_like(whole)
        for path in (flow, whole):
            path[_still(path)] = 0
        unseen = here.variance >= BLIND
        flow[unseen] = whole[unseen]
        alike = _still(flow - whole).all()
        return Paths(flow.astype(np.float32, copy=False), None if alike else whole)

    def expected(self, there: Sight, paths: Paths, here: Sight) -> Sight:
        """What `there` makes one expect here, by whichever account explains a pixel better."""
        dense = doubted(self.carried(there, paths.dense), here)
        if paths.whole is None:
            return dense
        whole = doubted(self.carried(there, paths.whole), here)
        # The dense account can also explain a bad fill, by bending the scene to it.
        better = whole.variance < BENT * dense.variance
        variance = np.where(better, whole.variance, dense.variance)
        return _mixed(dense, whole, better.astype(np.float32), variance)

    def reversed(self, paths: Paths) -> Paths:
        """The motion from there to here, from that from here to there: cheaper than a search."""
        back = (
            None
            if path is None
            else -cv2.remap(
                path, *self._at(-path), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            for path in (paths.dense, paths.whole)
        )
        return Paths(*back)  # type: ignore[arg-type]

    def carried(self, sight: Sight, flow: Floats) -> Sight:
        """A sight of another frame as it looks once moved along `flow`."""
        if not flow.any():
            return Sight(sight.luma, sight.chroma, sight.variance + DRIFT)
        at = self._at(flow)
        luma = cv2.remap(sight.luma, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        variance = cv2.remap(sight.variance, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        chroma = sight.chroma
        if chroma.shape[2]:
            high, wide, planes = chroma.shape
            rate = np.array([wide / flow.shape[1], high / flow.shape[0]], np.float32)
            small = flow if rate.min() == 1 else cv2.resize(flow, (wide, high)) * rate
            moved = cv2.remap(
                chroma,
                *self._at(np.asarray(small, np.float32)),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            chroma = np.asarray(moved, np.float32).reshape(high, wide, planes)
        return Sight(np.asarray(luma, np.float32), chroma, np.asarray(variance + DRIFT, np.float32))

    def _at(self, flow: Floats) -> tuple[Floats, Floats]:
        shape = flow.shape[:2]
        if shape not in self._grids:
            y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
            self._grids[shape] = x, y
        x, y = self._grids[shape]
        return x + flow[..., 0], y + flow[..., 1]


def _affine(flow: Floats, known: NDArray[np.bool_]) -> Floats:
    """The affine movement (h, w, 2) that fits the flow where it is known, outliers put aside."""
    high, wide = known.shape
    rows, columns = np.mgrid[SAMPLED // 2 : high : SAMPLED, SAMPLED // 2 : wide : SAMPLED]
    moved = flow[rows, columns].reshape(-1, 2)
    given = known[rows, columns].ravel().astype(np.float32)
    if given.sum() < FEWEST:
        return np.zeros_like(flow)
    x, y = (columns.ravel() - wide / 2) / wide, (rows.ravel() - high / 2) / high
    places = np.stack([np.ones_like(x), x, y], 1).astype(np.float32)
    weight = given
    for _ in range(3):  # iteratively reweighted least squares, Cauchy weights
        weighted = places * weight[:, None]
        ridge = np.float32(1e-3) * weight.mean() * np.eye(3, dtype=np.float32)
        fit = np.linalg.solve(weighted.T @ places + ridge, weighted.T @ moved)
        off = np.hypot(*(moved - places @ fit).T)
        typical = max(float(np.median(off[given > 0])), 0.05)
        weight = given / (1 + (off / (1.5 * typical)) ** 2)
    across = ((np.arange(wide) - wide / 2) / wide).astype(np.float32)
    down = ((np.arange(high) - high / 2) / high).astype(np.float32)
    whole = fit[0] + across[None, :, None] * fit[1] + down[:, None, None] * fit[2]
    return np.asarray(whole, np.float32)


def _mismatch(one: Floats, other: Floats, ring: NDArray[np.bool_]) -> float:
    """Mean squared difference in the ring, which is all there is if nothing is ring."""
    return float(np.mean((one - other)[ring] ** 2)) if ring.any() else 1e9


def _still(path: Floats) -> NDArray[np.bool_]:
    """Where (h, w) a motion is less than STILL across and down."""
    x, y = cv2.split(path)
    return np.asarray((np.abs(x) < STILL) & (np.abs(y) < STILL))


def _bytes(luma: Floats) -> NDArray[np.uint8]:
    return np.clip(luma, 0, 255).astype(np.uint8)


def doubted(carried: Sight, here: Sight) -> Sight:
    """A carried sight with the variance that its misfit to what is seen here gives away.

    Only samples that no mark covers are evidence: a fill may err more than it says.
    """
    ring = (here.variance <= KNOWN).astype(np.float32)
    squared = (carried.luma - here.luma) ** 2
    seen = squared[ring > 0]
    grain = min(float(np.median(seen)) / 0.455, GRAIN) if seen.size else 0.0  # chi-square's median
    expected = EXPECTED * (here.variance + carried.variance + np.float32(grain))
    misfit = np.maximum(squared - expected, np.float32(0)) * ring
    high, wide = ring.shape
    half = ((wide + 1) // 2, (high + 1) // 2)
    near = cv2.resize(cv2.merge([misfit, ring]), half, interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(near, (0, 0), SPREAD / 2)
    usual = misfit.sum() / max(float(ring.sum()), 1.0)
    excess = (near[..., 0] + np.float32(FAR * usual)) / (near[..., 1] + np.float32(FAR))
    excess = cv2.resize(excess, (wide, high))
    excess *= 1 + excess / np.float32(LOST)
    return Sight(carried.luma, carried.chroma, carried.variance + excess)


def updated(carried: Sight, here: Sight) -> Sight:
    """A carried sight weighed against the frame's own: what travels on from here."""
    gain = carried.variance / (
        carried.variance
        + here.variance * np.where(here.variance > KNOWN, np.float32(ALIKE), np.float32(1))
    )
    left = (1 - gain) * carried.variance
    # Fills of neighbouring frames err alike: their mean is never surer than COMMON allows.
    floor = np.minimum(carried.variance, np.float32(COMMON) * here.variance)
    return _mixed(carried, here, gain, np.maximum(left, floor))


def combined(here: Sight, carried: list[Sight]) -> Sight:
    """The frame's own sight with those carried to it from either side, each by its variance."""
    best = here
    for other in carried:
        gain = best.variance / (best.variance + other.variance)
        best = _mixed(best, other, gain, (1 - gain) * best.variance)
    return best


def _mixed(one: Sight, other: Sight, share: Floats, variance: Floats) -> Sight:
    """`share` of the other in the one, plane by plane."""
    luma = one.luma + share * (other.luma - one.luma)
    chroma = one.chroma
    high, wide, planes = chroma.shape
    if planes:
        small = (
            share
            if share.shape == (high, wide)
            else cv2.resize(share, (wide, high), interpolation=cv2.INTER_AREA)
        )
        chroma = chroma + small[..., None] * (other.chroma - chroma)
    return Sight(luma, chroma, variance)
