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

from sorawm_pipeline.vision.alignment import Movement, middle, movement, standing

Floats = NDArray[np.float32]

SMOOTH = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
EDGE = cv2.BORDER_REPLICATE

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

SAMPLED = 3
"""Distance in pixels of the samples that tell the noise."""

STILL = 0.05
"""Way in pixels below which nothing is moved yet: each movement blurs a little."""


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


def moved(here: Sight, there: Sight, last: Movement) -> Movement:
    """The movement from one sight of a place to another; `last` was the one before."""
    known = here.variance <= KNOWN
    change = (here.luma - there.luma)[known]
    if change.size and float(np.mean(change**2)) < STANDING:
        return standing()
    return movement(here.luma, there.luma, known, last)


def expected(there: Sight, way: Movement | None, here: Sight) -> Sight:
    """What another sight, at the end of a movement, makes one expect here; None stands still."""
    return doubted(carried(there, way), here)


def carried(sight: Sight, way: Movement | None) -> Sight:
    """The sight that a movement leads to, as it looks at the movement's beginning."""
    if way is None:
        return Sight(sight.luma, sight.chroma, sight.variance + np.float32(DRIFT))
    high, wide = sight.luma.shape
    luma = cv2.warpAffine(sight.luma, way, (wide, high), flags=SMOOTH, borderMode=EDGE)
    variance = cv2.warpAffine(
        sight.variance,
        way,
        (wide, high),
        flags=LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=BLIND,  # what comes in from beyond the region was never seen
    )
    chroma = sight.chroma
    if chroma.shape[2]:
        rows, columns, planes = chroma.shape
        rate = np.diag([columns / wide, rows / high])
        small = rate @ way @ np.diag([*(1 / rate.diagonal()), 1.0])
        turned = cv2.warpAffine(chroma, small, (columns, rows), flags=LINEAR, borderMode=EDGE)
        chroma = np.asarray(turned, np.float32).reshape(rows, columns, planes)
    return Sight(
        np.asarray(luma, np.float32), chroma, np.asarray(variance + np.float32(DRIFT), np.float32)
    )


def doubted(carried: Sight, here: Sight) -> Sight:
    """A carried sight with the variance that its misfit to what is seen here gives away.

    Only samples that no mark covers are evidence: a fill may err more than it says.
    """
    ring = (here.variance <= KNOWN).astype(np.float32)
    misfit = carried.luma - here.luma
    misfit *= misfit
    some = slice(None, None, SAMPLED)
    seen = misfit[some, some][ring[some, some] > 0]
    grain = min(middle(seen) / 0.455, GRAIN) if seen.size else 0.0  # chi-square's median
    chance = here.variance + carried.variance
    chance += np.float32(grain)
    chance *= np.float32(EXPECTED)
    misfit -= chance
    misfit *= ring
    np.maximum(misfit, 0, out=misfit)
    usual = float(misfit.sum()) / max(float(ring.sum()), 1.0)
    high, wide = ring.shape
    half = ((wide + 1) // 2, (high + 1) // 2)
    near, weight = (
        cv2.GaussianBlur(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), (0, 0), SPREAD / 2)
        for plane in (misfit, ring)
    )
    near += np.float32(FAR * usual)
    near /= weight + np.float32(FAR)
    near *= 1 + near / np.float32(LOST)
    excess = cv2.resize(near, (wide, high))
    excess += carried.variance
    return Sight(carried.luma, carried.chroma, excess)


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
