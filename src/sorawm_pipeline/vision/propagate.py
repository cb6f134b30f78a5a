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

from sorawm_pipeline.vision.alignment import Movement, middle, movement, standing
from sorawm_pipeline.vision.ring import FAR, Floats, Ring, smoothed

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

EXPECTED = 4.0
"""Misfit, in variances, that needs no other explanation than chance."""

GRAIN = 12.0
"""Most variance between frames that is put down to noise."""

LOST = 200.0
"""Misfit from which what is carried counts for less than its variance: it may be anything."""

STANDING = 0.3
"""Mean squared change of the ring below which a scene stands, without looking for motion."""

STILL = 0.05
"""Way in pixels below which nothing is moved yet: each movement blurs a little."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a place in one frame, in 8-bit steps.

    Attributes:
        luma: (h, w), filled where a mark is.
        chroma: (h_c, w_c, n) the other planes; n may be 0.
        variance: (h, w) of luma, squared steps: KNOWN where no mark is.
    """

    luma: Floats
    chroma: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class View(Sight):
    """What the frame itself shows of it.

    Attributes:
        ring: where no mark covers the place, which is where `variance` is KNOWN.
    """

    ring: Ring


def moved(here: View, there: Sight, last: Movement) -> Movement:
    """The movement from one sight of a place to another; `last` was the one before."""
    ring = here.ring
    change = cv2.norm(here.luma, there.luma, cv2.NORM_L2SQR, ring.mask)
    if ring.size and change < STANDING * ring.size:
        return standing()
    return movement(here.luma, there.luma, ring, last)


def expected(there: Sight, way: Movement | None, here: View) -> Sight:
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
    variance += np.float32(DRIFT)
    chroma = sight.chroma
    if chroma.shape[2]:
        rows, columns, planes = chroma.shape
        rate = np.diag([columns / wide, rows / high])
        small = rate @ way @ np.diag([*(1 / rate.diagonal()), 1.0])
        turned = cv2.warpAffine(chroma, small, (columns, rows), flags=LINEAR, borderMode=EDGE)
        chroma = np.asarray(turned, np.float32).reshape(rows, columns, planes)
    return Sight(np.asarray(luma, np.float32), chroma, np.asarray(variance, np.float32))


def doubted(carried: Sight, here: View) -> Sight:
    """A carried sight with the variance that its misfit to what is seen here gives away.

    Only samples that no mark covers are evidence: a fill may err more than it says.
    """
    ring = here.ring
    misfit = carried.luma - here.luma
    misfit *= misfit
    seen = misfit.take(ring.some)
    grain = min(middle(seen) / 0.455, GRAIN) if seen.size else 0.0  # chi-square's median
    own, other = here.variance, carried.variance
    misfit -= cv2.addWeighted(own, EXPECTED, other, EXPECTED, EXPECTED * grain)
    misfit *= ring.weight
    np.maximum(misfit, 0, out=misfit)
    usual = float(misfit.sum()) / max(ring.size, 1.0)
    near = smoothed(misfit)
    near += np.float32(FAR * usual)
    near /= ring.near
    near *= 1 + near / np.float32(LOST)
    excess = np.asarray(cv2.resize(near, misfit.shape[::-1]), np.float32)
    excess += carried.variance
    return Sight(carried.luma, carried.chroma, excess)


def updated(carried: Sight, here: View) -> Sight:
    """A carried sight weighed against the frame's own: what travels on from here."""
    gain = here.variance * here.ring.alike
    gain += carried.variance
    np.divide(carried.variance, gain, out=gain)
    left = 1 - gain
    left *= carried.variance
    # Their mean is never surer than COMMON allows.
    floor = np.minimum(carried.variance, np.float32(COMMON) * here.variance)
    return _mixed(carried, here, gain, np.maximum(left, floor, out=left))


def combined(here: Sight, carried: list[Sight]) -> Sight:
    """The frame's own sight with those carried to it from either side, each by its variance."""
    best = here
    for other in carried:
        gain = best.variance + other.variance
        np.divide(best.variance, gain, out=gain)
        variance = 1 - gain
        variance *= best.variance
        best = _mixed(best, other, gain, variance)
    return best


def _mixed(one: Sight, other: Sight, share: Floats, variance: Floats) -> Sight:
    """`share` of the other in the one, plane by plane."""
    luma = other.luma - one.luma
    luma *= share
    luma += one.luma
    high, wide, planes = one.chroma.shape
    if not planes:
        return Sight(luma, one.chroma, variance)
    chroma = other.chroma - one.chroma
    if share.shape != (high, wide):
        share = np.asarray(cv2.resize(share, (wide, high), interpolation=cv2.INTER_AREA))
    chroma *= cv2.merge([share] * planes).reshape(chroma.shape)
    chroma += one.chroma
    return Sight(luma, chroma, variance)
