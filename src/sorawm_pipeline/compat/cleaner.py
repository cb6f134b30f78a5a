"""Restoring masked pixels of single pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.compat.batches import batch_cap, in_batches
from sorawm_pipeline.compat.detector import Picture, check_picture
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.frame import Box, Mask, Patch
from sorawm_pipeline.media.patch import OPAQUE, blend
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.vision.restore import FEATHER, Hole, MembraneInpainter, Region
from sorawm_pipeline.vision.see_through import Networks, SeeThrough, load_networks
from sorawm_pipeline.warm import resolve_device

LAYOUT = layout_of("gbrp")
CHANNELS = 1, 0, 2
"""Of BGR, the channels in the order of LAYOUT's planes: green, blue, red."""

NEAR = 16
"""Pixels between masked ones that still belong to one mark, such as the letters of a word."""

ENOUGH = 0.25
"""Share of a mark's pixels that a place beside it must have to tell something."""


class WaterMarkCleaner:
    """Restores what masks cover, each picture by itself.

    Each mark is seen through by the built-in networks, or painted over from its rim, whichever is
    likely to err less. `SoraWM.run` restores better, because it sees the frames around as well. The
    networks are loaded by the first picture. Threads may share it; they take turns.

    Args:
        device: `auto`, `cpu` or `cuda[:n]`.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._lock = threading.Lock()
        self._loaded: tuple[Networks, BatchCap] | None = None

    def clean(self, input_image: Picture, watermark_mask: NDArray[np.uint8]) -> Picture:
        """A copy of the picture with its masked pixels restored; all others are bit-identical.

        Args:
            input_image: uint8 BGR (h, w, 3).
            watermark_mask: (h, w); what is not 0 is covered. Any number of marks.

        Raises:
            ValueError: it is no such picture, or the mask is not of its size.
            PipelineError: the networks cannot be loaded, or do not fit into memory.
        """
        return self.clean_batch([input_image], [watermark_mask])[0]

    def clean_batch(
        self, input_images: Sequence[Picture], watermark_masks: Sequence[NDArray[np.uint8]]
    ) -> list[Picture]:
        """Several pictures, of any sizes; as `clean` would restore each of them."""
        if len(input_images) != len(watermark_masks):
            raise ValueError(f"{len(input_images)} pictures but {len(watermark_masks)} masks")
        cleaned = []
        places: list[_Place] = []
        for image, mask in zip(input_images, watermark_masks, strict=True):
            check_picture(image)
            if np.shape(mask) != image.shape[:2]:
                raise ValueError(
                    f"a mask of shape {np.shape(mask)} does not fit a picture of {image.shape}"
                )
            cleaned.append(image.copy())
            places += _places(image, np.asarray(mask) != 0, cleaned[-1])
        if places:
            with self._lock:
                networks, cap = self._ready()
                patches = in_batches(
                    cap, lambda part: [_restored(place, networks) for place in part], places
                )
            for place, patch in zip(places, patches, strict=True):
                place.write(patch)
        return cleaned

    def _ready(self) -> tuple[Networks, BatchCap]:
        if self._loaded is None:
            device = resolve_device(self._device)
            self._loaded = load_networks(device), batch_cap(device)
        return self._loaded


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """One mark of one picture.

    Attributes:
        image: the picture as it came, uint8 BGR (h, w, 3).
        unknown: all of its masked pixels and a few around them, (h, w).
        own: this mark's masked pixels, of the shape of `hole.box`.
        hole: where it is.
        target: the picture to write to.
    """

    image: Picture
    unknown: NDArray[np.bool_]
    own: NDArray[np.bool_]
    hole: Hole
    target: Picture

    def write(self, patch: Patch) -> None:
        """Blend a patch over this mark's own pixels."""
        there = self.target[_rows_columns(patch.box)]
        for channel, plane, alpha in zip(CHANNELS, patch.planes, patch.alpha, strict=True):
            blend(there[..., channel], plane, np.where(self.own, alpha, np.uint16(0)))


def _places(image: Picture, masked: NDArray[np.bool_], target: Picture) -> Iterator[_Place]:
    height, width = masked.shape
    near = cv2.dilate(masked.astype(np.uint8), np.ones((2 * NEAR + 1,) * 2, np.uint8))
    count, labels = cv2.connectedComponents(near)
    labels[~masked] = 0
    unknown = cv2.dilate(masked.astype(np.uint8), np.ones((2 * FEATHER + 1,) * 2, np.uint8)) > 0
    boxes = [_box_of(labels, label) for label in range(1, count)]
    for label, box in enumerate(boxes, start=1):
        others = [other for other in boxes if other is not box]
        pixels = np.where(labels[_rows_columns(box)] == label, np.uint8(255), np.uint8(0))
        hole = Hole(box, Mask(box, pixels), others, 0, width, height, LAYOUT, SeeThrough.context)
        own = labels[_rows_columns(hole.box)] == label
        yield _Place(image, unknown, own, hole, target)


def _box_of(labels: NDArray[np.int32], label: int) -> Box:
    x, y, width, height = cv2.boundingRect((labels == label).astype(np.uint8))
    return Box(x, y, x + width, y + height)


def _rows_columns(box: Box) -> tuple[slice, slice]:
    return slice(box.y0, box.y1), slice(box.x0, box.x1)


def _restored(place: _Place, networks: Networks) -> Patch:
    """The patch that is likely to err less: seen through, or painted over.

    The fill network says how far it may be off; how far painting is off, the places beside the
    mark say, where it is known what is there.
    """
    region = Region(0, place.hole, _planes(place.image, place.hole.box))
    patch = SeeThrough(networks, LAYOUT).fill([region])[0]
    painted = _painting_error(place)
    if patch.variance is None or painted > float(np.median(patch.variance[place.own])):
        return patch
    patch = MembraneInpainter().fill([region])[0]
    opaque = np.full(place.own.shape, OPAQUE, np.uint16)
    return replace(patch, alpha=(opaque,) * len(patch.planes))


def _planes(image: Picture, box: Box) -> tuple[Picture, ...]:
    there = image[_rows_columns(box)]
    return tuple(np.ascontiguousarray(there[..., channel]) for channel in CHANNELS)


def _painting_error(place: _Place) -> float:
    """Mean squared error of painting places beside the mark; infinite if too little is free."""
    box, hidden = place.hole.box, place.hole.masks[0] > 0
    height, width = place.unknown.shape
    step_x, step_y = place.hole.mark.width + 2 * FEATHER, place.hole.mark.height + 2 * FEATHER
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
        for plane in _planes(place.image, beside):
            off = painter.filled(plane, holes).astype(np.float32) - plane
            errors.append(float((off[judged] ** 2).mean()))
    return float(np.mean(errors)) if errors else float("inf")
