"""Which pixels an overlay covers, learnt from what stays the same while the scene moves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Mark, Mask, Plane
from sorawm_pipeline.snapshot import value
from sorawm_pipeline.vision.restore import membrane
from sorawm_pipeline.vision.tracks import Marks

Floats = NDArray[np.float32]

RING = 14
"""Pixels around a mark that tell what the picture is like without it."""

EDGE = 3
"""Pixels by which a mark may be larger than its box."""

COVERED = 0.1
"""Share of the overlay's strongest change from which a pixel is covered."""

LEAST = 3.0
"""Change, in 8-bit steps, below which nothing counts as covered."""

DOUBT = 0.2
"""If the scene itself is as far from smooth, as a share of the overlay, no mask is told."""

SAME = 0.7
"""Overlap from which two boxes are one whole mark in one place."""

FULL, EMPTY = 0.85, 0.04
"""Shares of a box: a mask that covers more is the box, one that covers less is a mistake."""

ENOUGH = 4
"""Pictures that a mask is told from, unless the scene is smooth."""

EVERY = 2
"""Of the frames that hold a mark, one in so many is learnt from."""

RENEWED = 1.5
"""A mask is told anew when it has been learnt from so many times as many pictures."""

FORGOTTEN = 240
"""Frames after which a place where no mark was seen is forgotten."""


@value
@dataclass(slots=True)
class _Place:
    mark: Box
    region: Box
    total: Floats
    pictures: int = 0
    last: int = 0
    told_from: int = 0
    mask: Mask | None = None


class Masks:
    """Learns from frames with their sightings, and later tells the masks of their marks."""

    STATE = ("_places",)

    def __init__(self, depth: int) -> None:
        self._scale = np.float32(2.0 ** (8 - depth))
        self._places: list[_Place] = []

    def see(self, index: int, luma: Plane, marks: Marks) -> None:
        """Learn from a frame's luma plane (h, w); `index` never falls."""
        self._places = [place for place in self._places if index - place.last <= FORGOTTEN]
        if index % EVERY:
            return
        for mark in marks:
            place = self._at(mark.box)
            if place is None:
                region = mark.box.grown(RING).clipped(luma.shape[1], luma.shape[0])
                place = _Place(
                    mark.box, region, np.zeros((region.height, region.width), np.float32)
                )
                self._places.append(place)
            box = place.region
            place.total += luma[box.y0 : box.y1, box.x0 : box.x1] * self._scale
            place.pictures += 1
            place.last = index

    def tell(self, mark: Mark) -> Mask | None:
        """The mask of a mark; None if it cannot be told from the scene, so that its box counts."""
        place = self._at(mark.box)
        if place is None or place.pictures == 0:
            return None
        if place.pictures >= RENEWED * place.told_from:
            place.told_from = place.pictures
            place.mask = _covered(place)
        return place.mask

    def _at(self, box: Box) -> _Place | None:
        """The place whose whole mark `box` is; a part of it may hop, and is its box."""
        known = [place for place in self._places if place.mark.iou(box) > SAME]
        return max(known, key=lambda place: (place.last, place.mark.iou(box)), default=None)


def _covered(place: _Place) -> Mask | None:
    """The pixels of a place whose mean differs from what the ring around makes one expect."""
    mean = place.total / np.float32(place.pictures)
    hole = place.mark.grown(EDGE).intersection(place.region)
    within = hole.within(place.region)
    known = np.ones(mean.shape, np.bool_)
    known[within] = False
    if not known.any():
        return None
    change = np.abs(mean - membrane(mean, known))
    peak = float(np.percentile(change[within], 95))
    # How far the scene's own mean is from smooth.
    texture = float(np.percentile(np.abs(mean - cv2.GaussianBlur(mean, (0, 0), 4))[known], 90))
    threshold = max(LEAST, COVERED * peak, texture)
    smooth = threshold <= DOUBT * peak
    if not smooth or (place.pictures < ENOUGH and texture > COVERED * peak):
        return None
    covered = (change[within] > threshold).astype(np.uint8) * 255
    covered = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    share = float((covered > 0).mean())
    if not EMPTY < share < FULL:
        return None
    return Mask(hole, np.asarray(covered, np.uint8))
