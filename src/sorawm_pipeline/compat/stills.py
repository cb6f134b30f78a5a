"""Marks of single pictures: where masks say they are, and the patch that restores one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Mask, Patch
from sorawm_pipeline.media.patch import OPAQUE, blend
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.vision.restore import FEATHER, Hole, MembraneInpainter, Region
from sorawm_pipeline.vision.see_through import Networks, SeeThrough

Picture = NDArray[np.uint8]

LAYOUT = layout_of("gbrp")
CHANNELS = 1, 0, 2
"""Of BGR, the channels in the order of LAYOUT's planes: green, blue, red."""

NEAR = 16
"""Pixels between masked ones that still belong to one mark, such as the letters of a word."""

MARGIN = 8
"""Pixels around a mark that may change too, if they are masked."""

PASSES, FITTING = 3, 0.3
"""How often a box is fitted to its mark at most, and the share of the change there that counts."""

ENOUGH = 0.25
"""Share of a mark's pixels that a place beside it must have to tell something."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One mark of one picture.

    Attributes:
        image: the picture as it came, uint8 BGR (h, w, 3).
        mask: the pixels that are masked for this mark.
        others: boxes of the picture's other marks.
        unknown: all masked pixels of the picture and a few around them, (h, w).
        target: the picture to write to.
    """

    image: Picture
    mask: Mask
    others: tuple[Box, ...]
    unknown: NDArray[np.bool_]
    target: Picture

    def hole(self, mark: Box, mask: Mask | None, margin: int) -> Hole:
        height, width = self.unknown.shape
        context = SeeThrough.context
        return Hole(mark, mask, self.others, margin, width, height, LAYOUT, context)

    def region(self, hole: Hole) -> Region:
        return Region(0, hole, planes_of(self.image, hole.box))

    def own(self, box: Box) -> NDArray[np.bool_]:
        """Which pixels of a box are masked for this mark, (h, w)."""
        own = np.zeros((box.height, box.width), np.bool_)
        shared = box.intersection(self.mask.box)
        own[shared.within(box)] = self.mask.pixels[shared.within(self.mask.box)] > 0
        return own

    def write(self, patch: Patch) -> None:
        """Blend a patch over this mark's own pixels."""
        there, own = self.target[_rows_columns(patch.box)], self.own(patch.box)
        for channel, plane, alpha in zip(CHANNELS, patch.planes, patch.alpha, strict=True):
            blend(there[..., channel], plane, np.where(own, alpha, np.uint16(0)))


def places(image: Picture, masked: NDArray[np.bool_], target: Picture) -> Iterator[Place]:
    """The marks of a picture (h, w, 3), told from what is masked (h, w); see `Place`."""
    near = cv2.dilate(masked.astype(np.uint8), np.ones((2 * NEAR + 1,) * 2, np.uint8))
    count, labels = cv2.connectedComponents(near)
    labels[~masked] = 0
    unknown = cv2.dilate(masked.astype(np.uint8), np.ones((2 * FEATHER + 1,) * 2, np.uint8)) > 0
    boxes = [_box_of(labels == label) for label in range(1, count)]
    for label, box in enumerate(boxes, start=1):
        pixels = np.where(labels[_rows_columns(box)] == label, np.uint8(255), np.uint8(0))
        others = tuple(other for other in boxes if other is not box)
        yield Place(image, Mask(box, pixels), others, unknown, target)


def restored(place: Place, networks: Networks) -> Patch:
    """The patch that is likely to err less: seen through, or painted over.

    The fill network says how far it may be off; how far painting is off, the places beside the
    mark say, where it is known what is there.
    """
    patch = _seen_through(place, networks)
    own = place.own(patch.box)
    changed = own & (patch.alpha[0] > 0)
    hole = place.hole(place.mask.box, place.mask, 0)
    if changed.any() and patch.variance is not None:
        error = float(np.median(patch.variance[changed])) * changed.sum() / own.sum()
        if error <= painting_error(place, hole):
            return patch
    patch = MembraneInpainter().fill([place.region(hole)])[0]
    opaque = np.full(patch.alpha[0].shape, OPAQUE, np.uint16)
    return replace(patch, alpha=(opaque,) * len(patch.planes))


def _seen_through(place: Place, networks: Networks) -> Patch:
    """What the networks make of a place.

    They have learnt boxes that fit their marks. Masks are often wider, so they are asked again for
    the part that they changed most.
    """
    box = place.mask.box
    for left in reversed(range(PASSES)):
        region = place.region(place.hole(box, None, MARGIN))
        patch = SeeThrough(networks, LAYOUT).fill([region])[0]
        fitting = _changed_most(region, patch, box)
        if fitting == box or not left:
            break
        box = fitting
    return patch


def _changed_most(region: Region, patch: Patch, box: Box) -> Box:
    """The part of a mark's box that a patch changes by more than a share of the most."""
    pairs = zip(region.planes, patch.planes, strict=True)
    change = np.mean([cv2.absdiff(before, after) for before, after in pairs], axis=0)
    change = cv2.blur(change, (3, 3))[box.within(patch.box)]
    most = np.percentile(change, 95)
    spots = cv2.morphologyEx(
        (change > FITTING * most).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    part = _box_of(spots > 0)
    if not part.area:
        return box
    return Box(box.x0 + part.x0, box.y0 + part.y0, box.x0 + part.x1, box.y0 + part.y1)


def painting_error(place: Place, hole: Hole) -> float:
    """Mean squared error of painting places beside the mark; infinite if too little is free."""
    box, hidden = hole.box, hole.masks[0] > 0
    height, width = place.unknown.shape
    step_x, step_y = hole.mark.width + 2 * FEATHER, hole.mark.height + 2 * FEATHER
    painter = MembraneInpainter()
    errors = []
    for across, down in ((step_x, 0), (-step_x, 0), (0, step_y), (0, -step_y)):
        whole = Box(box.x0 + across, box.y0 + down, box.x1 + across, box.y1 + down)
        beside = whole.clipped(width, height)
        if not beside.area:
            continue
        painted = hidden[beside.within(whole)]
        unknown = place.unknown[_rows_columns(beside)]
        judged = painted & ~unknown
        if judged.sum() < ENOUGH * hidden.sum():
            continue
        holes = np.where(painted | unknown, np.uint8(255), np.uint8(0))
        for plane in planes_of(place.image, beside):
            off = painter.filled(plane, holes).astype(np.float32) - plane
            errors.append(float((off[judged] ** 2).mean()))
    return float(np.mean(errors)) if errors else float("inf")


def planes_of(image: Picture, box: Box) -> tuple[Picture, ...]:
    there = image[_rows_columns(box)]
    return tuple(np.ascontiguousarray(there[..., channel]) for channel in CHANNELS)


def _box_of(pixels: NDArray[np.bool_]) -> Box:
    """The smallest box around them; empty if there are none."""
    x, y, width, height = cv2.boundingRect(pixels.astype(np.uint8))
    return Box(x, y, x + width, y + height)


def _rows_columns(box: Box) -> tuple[slice, slice]:
    return slice(box.y0, box.y1), slice(box.x0, box.x1)
