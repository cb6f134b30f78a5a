"""Filling the place of a mark in one frame from the pixels around it."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Patch, Plane
from sorawm_pipeline.media.patch import OPAQUE, chroma_alpha
from sorawm_pipeline.media.planes import PixelLayout

CONTEXT = 12
"""Untouched pixels around the hole that a patch carries: what the fill grows from, and what the
temporal stage compares from frame to frame."""

INPAINT_RADIUS = 3
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


def inpainter_for(method: str) -> Inpainter | None:
    """The inpainter of that name; None for `none`, which leaves the picture as it is.

    Raises:
        KeyError: no such method.
    """
    return None if method == "none" else DiffusionInpainter(method)


class Hole:
    """Geometry of one hole: the patch's box around it, its mask and its soft edge.

    Args:
        mark: the mark's box, stored-picture pixels.
        margin: pixels around it that are replaced too, because marks have soft edges and
            compression smears them.
    """

    def __init__(
        self, mark: Box, margin: int, width: int, height: int, layout: PixelLayout
    ) -> None:
        hole = mark.grown(margin).clipped(width, height)
        self.box = hole.grown(CONTEXT).aligned(layout.step_x, layout.step_y).clipped(width, height)
        inside = np.zeros((self.box.height, self.box.width), np.uint8)
        inside[
            hole.y0 - self.box.y0 : hole.y1 - self.box.y0,
            hole.x0 - self.box.x0 : hole.x1 - self.box.x0,
        ] = 255
        distance = cv2.distanceTransform(255 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        soft = np.clip(1.0 - distance / FEATHER, 0.0, 1.0) * OPAQUE
        self.alpha = chroma_alpha(np.rint(soft).astype(np.uint16), layout)
        self.masks = tuple(np.where(a > 0, np.uint8(255), np.uint8(0)) for a in self.alpha)

    def patch(self, planes: tuple[Plane, ...]) -> Patch:
        return Patch(self.box, planes, self.alpha)
