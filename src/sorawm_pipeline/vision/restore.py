"""Filling the place of a mark in one frame from the pixels around it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Mask, Patch, Plane
from sorawm_pipeline.media.patch import OPAQUE, chroma_alpha
from sorawm_pipeline.media.planes import PixelLayout, rounded_like
from sorawm_pipeline.vision.propagate import BLIND, KNOWN

CONTEXT = 12
"""Untouched pixels around the hole that a patch carries: what the fill grows from, and what the
temporal stage compares from frame to frame."""

INPAINT_RADIUS = 3
JACOBI_STEPS = 4
COARSEST = 2
NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
PLAIN = ("membrane", "telea", "ns", "none")
"""Methods without weights."""

DIFFUSION_FLAGS = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}
BLIND_CONTEXT = 64
"""The same for networks that paint what they cannot see."""

FEATHER = 4
"""Width in pixels of the soft edge around a hole."""


Key = TypeVar("Key", bound=Hashable)


class Inpainter(Protocol):
    """Restores regions of frames. Used by one thread at a time.

    Attributes:
        method: its name in configuration and report.
        together: frames of a mark that it likes to see at once; they wait for each other.
        context: untouched pixels that it likes to see around a hole.
        runtime, device, weights_sha256: for the report; so is `fallback`, if there is one: why it
            does not run in the fastest way.
    """

    method: str
    together: int
    context: int
    runtime: str
    device: str
    weights_sha256: str | None

    def fill(self, regions: Sequence[Region]) -> list[Patch]:
        """Return a patch for each region, whose box is the region's hole's.

        Args:
            regions: of one or several frames, oldest first.
        """
        ...


class Blind:
    """What the methods without weights share: each region and plane is filled by itself."""

    method: str
    together = 1
    context = CONTEXT
    runtime = "opencv"
    device = "cpu"
    weights_sha256: str | None = None

    def fill(self, regions: Sequence[Region]) -> list[Patch]:
        return [
            region.hole.patch(
                tuple(
                    self.filled(plane, hole)
                    for plane, hole in zip(region.planes, region.hole.masks, strict=True)
                )
            )
            for region in regions
        ]

    def filled(self, plane: Plane, hole: NDArray[np.uint8]) -> Plane:
        """A plane (h, w) with its hole (255 where to fill, else 0) filled."""
        raise NotImplementedError


class DiffusionInpainter(Blind):
    """OpenCV's weight-free fills, run on each native plane, so that no colour is ever converted.

    `telea`: Telea, "An image inpainting technique based on the fast marching method", 2004.
    `ns`: Bertalmio et al., "Navier-Stokes, fluid dynamics, and image and video inpainting", 2001.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self._flag = DIFFUSION_FLAGS[method]

    def filled(self, plane: Plane, hole: NDArray[np.uint8]) -> Plane:
        painted: Plane = cv2.inpaint(plane, hole, INPAINT_RADIUS, self._flag)
        return painted


class MembraneInpainter(Blind):
    """Stretches a membrane over each hole: the smooth surface that its rim determines.

    Push-pull over a pyramid (Gortler et al., "The lumigraph", 1996) with a few Jacobi steps of the
    Laplace equation on each level. Against the diffusion fills it leaves no streaks and is many
    times faster.
    """

    method = "membrane"

    def filled(self, plane: Plane, hole: NDArray[np.uint8]) -> Plane:
        return rounded_like(membrane(plane.astype(np.float32), hole == 0), plane)


def membrane(plane: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`plane` (h, w) with smooth values where it is not `known`; known samples are untouched."""
    if known.all() or not known.any():
        return plane
    height, width = plane.shape
    if min(height, width) <= COARSEST:
        return np.where(known, plane, plane[known].mean())
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = known.astype(np.float32)
    share = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    total = cv2.resize(plane * weight, half, interpolation=cv2.INTER_AREA)
    coarse = membrane((total / np.maximum(share, 1e-6)).astype(np.float32), share > 0)
    surface = np.where(known, plane, cv2.resize(coarse, (width, height)))
    for _ in range(JACOBI_STEPS):
        relaxed = cv2.filter2D(surface, -1, NEIGHBOURS, borderType=cv2.BORDER_REPLICATE)
        surface = np.where(known, plane, relaxed)
    return surface


def plain_inpainter(method: str) -> Blind | None:
    """The inpainter without weights of that name; None for `none`, which leaves the picture as is.

    Raises:
        KeyError: no such method.
    """
    if method == "none":
        return None
    return MembraneInpainter() if method == MembraneInpainter.method else DiffusionInpainter(method)


class Hole:
    """Geometry of one hole: the patch's box around it, its mask and its soft edge.

    Attributes:
        box: of the patch.
        mark: the mark's box, inside the picture.
        alpha: per plane what a fill is blended with, see `Patch`.
        masks: per plane uint8, 255 where to fill, else 0.
        hidden: where to fill the first plane, bool (h, w).

    Args:
        mark: the mark's box, stored-picture pixels.
        mask: the pixels it covers; None for all of its box.
        others: boxes of the frame's other marks, which a fill must not grow from.
        margin: pixels around it that are replaced too, because marks have soft edges and
            compression smears them.
        context: untouched pixels around them that the patch carries.
    """

    def __init__(
        self,
        mark: Box,
        mask: Mask | None,
        others: Sequence[Box],
        margin: int,
        width: int,
        height: int,
        layout: PixelLayout,
        context: int = CONTEXT,
    ) -> None:
        whole = mark if mask is None else mark.union(mask.box)
        hole = whole.grown(margin).clipped(width, height)
        self.box = hole.grown(context).aligned(*layout.even_steps).clipped(width, height)
        self.mark = whole.clipped(width, height)
        inside = np.zeros((self.box.height, self.box.width), np.uint8)
        if mask is None:
            inside[hole.within(self.box)] = 255
        else:
            inside[mask.box.within(self.box)] = mask.pixels
            inside = cv2.dilate(
                inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin // 2 * 2 + 1,) * 2)
            )
        distance = cv2.distanceTransform(255 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        soft = np.clip(1.0 - distance / FEATHER, 0.0, 1.0) * OPAQUE
        self.alpha = chroma_alpha(np.rint(soft).astype(np.uint16), layout)
        self.masks = tuple(np.where(alpha > 0, np.uint8(255), np.uint8(0)) for alpha in self.alpha)
        for other in others:
            unknown = other.grown(margin).aligned(layout.step_x, layout.step_y)
            for index, hidden in enumerate(self.masks):
                origin = layout.plane_box(self.box, index)
                area = layout.plane_box(unknown.intersection(self.box), index)
                hidden[area.within(origin)] = 255
        self.hidden = self.masks[0] > 0

    def patch(self, planes: tuple[Plane, ...]) -> Patch:
        """A patch of these planes that replaces the whole hole, seen by nobody."""
        variance = np.where(self.hidden, np.float32(BLIND), np.float32(KNOWN))
        return Patch(self.box, planes, self.alpha, variance)


@dataclass(frozen=True, slots=True)
class Region:
    """One marked place of one frame, as an inpainter gets it.

    Attributes:
        index: of the frame, counted from 0.
        hole: where the mark is and what to replace.
        planes: copies of the native planes under `hole.box`.
    """

    index: int
    hole: Hole
    planes: tuple[Plane, ...]


def in_groups(
    regions: Sequence[Region],
    key: Callable[[Region], Key],
    fill: Callable[[Key, Sequence[Region]], list[Patch]],
) -> list[Patch]:
    """Patches for regions, in their order, made for all regions of one key at once."""
    patches: dict[int, Patch] = {}
    keys = [key(region) for region in regions]
    for one in dict.fromkeys(keys):
        same = [at for at, other in enumerate(keys) if other == one]
        patches.update(zip(same, fill(one, [regions[at] for at in same]), strict=True))
    return [patches[at] for at in range(len(regions))]
