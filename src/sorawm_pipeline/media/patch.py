"""Cutting regions out of native planes and blending patches into them."""

from __future__ import annotations

import functools

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Patch, Plane
from sorawm_pipeline.media.planes import PixelLayout, plane_view

OPAQUE = 256
"""The alpha that replaces a sample entirely."""


def cut(picture: av.VideoFrame, box: Box, layout: PixelLayout) -> tuple[Plane, ...]:
    """Copies of the samples under `box` (aligned, inside the picture), one array per plane."""
    copies = []
    for index in range(layout.colour_planes):
        plane = plane_view(picture, index, layout)
        area = layout.plane_box(box, index).clipped(plane.shape[1], plane.shape[0])
        copies.append(plane[area.y0 : area.y1, area.x0 : area.x1].copy())
    return tuple(copies)


def chroma_alpha(alpha: NDArray[np.uint16], layout: PixelLayout) -> tuple[NDArray[np.uint16], ...]:
    """Per-plane alphas from a luma alpha (h, w) whose origin lies on the chroma grid.

    A chroma sample takes the largest alpha of the luma samples it covers, so that no colour of a
    mark stays behind under a soft edge.
    """
    if layout.rgb or layout.colour_planes == 1:
        return (alpha,) * layout.colour_planes
    sx, sy = layout.step_x, layout.step_y
    height, width = alpha.shape
    if height % sy or width % sx:
        alpha_padded = np.pad(alpha, ((0, -height % sy), (0, -width % sx)))
    else:
        alpha_padded = alpha
    parts = [alpha_padded[y::sy, x::sx] for y in range(sy) for x in range(sx)]
    chroma = functools.reduce(np.maximum, parts)
    return alpha, chroma, chroma


def paste(picture: av.VideoFrame, patches: list[Patch], layout: PixelLayout) -> None:
    """Blend patches into the picture; samples whose alpha is 0 stay bit-identical.

    The picture is made writable first, which copies it only where a decoder still refers to it.
    """
    if not patches:
        return
    picture.make_writable()
    for index in range(layout.colour_planes):
        plane = plane_view(picture, index, layout)
        for patch in patches:
            area = layout.plane_box(patch.box, index)
            target = plane[area.y0 : area.y1, area.x0 : area.x1]
            blend(target, patch.planes[index], patch.alpha[index])


def blend(target: Plane, fill: Plane, alpha: NDArray[np.uint16]) -> None:
    weight = alpha.astype(np.int32)
    old = target.astype(np.int32)
    mixed = old + (((fill.astype(np.int32) - old) * weight + OPAQUE // 2) >> 8)
    target[...] = mixed.astype(target.dtype)
