"""Filling the place of a mark in one frame from the pixels around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Mask, Patch, Plane
from sorawm_pipeline.media.patch import OPAQUE, chroma_alpha
from sorawm_pipeline.media.planes import PixelLayout, rounded_like

CONTEXT = 12
"""Untouched pixels around the hole that a patch carries: what the fill grows from, and what the
temporal stage compares from frame to frame."""

INPAINT_RADIUS = 3
JACOBI_STEPS = 4
COARSEST = 2
NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
DIFFUSION_FLAGS = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}
FEATHER = 4
"""Width in pixels of the soft edge around a hole."""


class Inpainter(Protocol):
    """Fills holes in native planes. Used by one thread at a time."""

    method: str

    def fill(
        self, planes: tuple[Plane, ...], holes: tuple[NDArray[np.uint8], ...]
    ) -> tuple[Plane, ...]:
        """Return planes of the same shapes and dtypes with their holes filled.

        Args:
            planes: one array (h_p, w_p) per plane.
            holes: masks of the same shapes, 255 where to fill, else 0.
        """
        ...


class DiffusionInpainter:
    """OpenCV's weight-free fills, run on each native plane, so that no colour is ever converted.

    `telea`: Telea, "An image inpainting technique based on the fast marching method", 2004.
    `ns`: Bertalmio et al., "Navier-Stokes, fluid dynamics, and image and video inpainting", 2001.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self._flag = DIFFUSION_FLAGS[method]

    def fill(
        self, planes: tuple[Plane, ...], holes: tuple[NDArray[np.uint8], ...]
    ) -> tuple[Plane, ...]:
        filled: list[Plane] = [
            cv2.inpaint(plane, hole, INPAINT_RADIUS, self._flag)
            for plane, hole in zip(planes, holes, strict=True)
        ]
        return tuple(filled)


class MembraneInpainter:
    """Stretches a membrane over each hole: the smooth surface that its rim determines.

    Push-pull over a pyramid (Gortler et al., "The lumigraph", 1996) with a few Jacobi steps of the
    Laplace equation on each level. Against the diffusion fills it leaves no streaks and is many
    times faster.
    """

    method = "membrane"

    def fill(
        self, planes: tuple[Plane, ...], holes: tuple[NDArray[np.uint8], ...]
    ) -> tuple[Plane, ...]:
        return tuple(
            rounded_like(membrane(plane.astype(np.float32), hole == 0), plane)
            for plane, hole in zip(planes, holes, strict=True)
        )


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


def inpainter_for(method: str) -> Inpainter | None:
    """The inpainter of that name; None for `none`, which leaves the picture as it is.

    Raises:
        KeyError: no such method.
    """
    if method == "none":
        return None
    return MembraneInpainter() if method == MembraneInpainter.method else DiffusionInpainter(method)


class Hole:
    """Geometry of one hole: the patch's box around it, its mask and its soft edge.

    Args:
        mark: the mark's box, stored-picture pixels.
        mask: the pixels it covers; None for all of its box.
        others: boxes of the frame's other marks, which a fill must not grow from.
        margin: pixels around it that are replaced too, because marks have soft edges and
            compression smears them.
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
    ) -> None:
        whole = mark if mask is None else mark.union(mask.box)
        hole = whole.grown(margin).clipped(width, height)
        self.box = hole.grown(CONTEXT).aligned(layout.step_x, layout.step_y).clipped(width, height)
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

    def patch(self, planes: tuple[Plane, ...]) -> Patch:
        return Patch(self.box, planes, self.alpha)
