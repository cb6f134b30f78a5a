"""Steadying fills over time: what a fill looks like should change only as its surroundings do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Patch, Plane
from sorawm_pipeline.media.planes import rounded_like

RING_SIGMA = 2.0
"""Mean absolute change of the surroundings, in 8-bit steps, at which a neighbour counts e^-1/2."""


def steadied(patch: Patch, neighbours: Sequence[Patch], depth: int) -> Patch:
    """The patch averaged with those of neighbouring frames that cover the same place.

    A neighbour counts as far as its ring (the untouched pixels that both patches carry, alpha 0)
    equals this one's: fully where the scene stands still, not at all across a cut. Pixels of the
    ring stay this frame's own.

    Args:
        patch: of the frame at hand.
        neighbours: of other frames; those with another box are passed over.
        depth: bits per sample.
    """
    ring = patch.alpha[0] == 0
    if not ring.any():
        return patch
    same = [other for other in neighbours if other.box == patch.box]
    weights = [_agreement(patch.planes[0], other.planes[0], ring, depth) for other in same]
    if sum(weights) < 0.01:
        return patch
    planes = tuple(_average(index, patch, same, weights) for index in range(len(patch.planes)))
    return Patch(patch.box, planes, patch.alpha)


def _agreement(here: Plane, there: Plane, ring: NDArray[np.bool_], depth: int) -> float:
    change = np.abs(here[ring].astype(np.int32) - there[ring].astype(np.int32)).mean()
    return float(np.exp(-0.5 * (change / 2 ** (depth - 8) / RING_SIGMA) ** 2))


def _average(index: int, patch: Patch, others: Sequence[Patch], weights: Sequence[float]) -> Plane:
    own = patch.planes[index]
    total = own.astype(np.float32)
    for other, weight in zip(others, weights, strict=True):
        total += np.float32(weight) * other.planes[index]
    mean = rounded_like(total / np.float32(1.0 + sum(weights)), own)
    return np.where(patch.alpha[index] > 0, mean, own)
