"""Native planes as the see-through networks take them: 4:2:0 colour on a grid of half the size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Plane
from sorawm_pipeline.media.planes import PixelLayout, rounded_like

Floats = NDArray[np.float32]
Sample = TypeVar("Sample", np.float32, np.bool_)

GREY = 128 / 255
BLOCK = (0, 0), (0, 1), (1, 0), (1, 1)
RGB_TO_YCC = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float32
) / np.float32(255)
"""BT.601, full-range RGB to limited-range luma and chroma."""
YCC_TO_RGB = np.linalg.inv(RGB_TO_YCC).astype(np.float32)
YCC_ZERO = np.array([16, 128, 128], np.float32) / np.float32(255)


def to_grid(planes: Sequence[Plane], layout: PixelLayout) -> Floats:
    """Planes of one region as (6, ceil(h / 2), ceil(w / 2)), 0..1 in 8-bit steps of 1/255.

    Channels are the four luma samples of a 2x2 block, row by row, then the two of chroma.
    """
    scale = np.float32(1 / (255 * 2 ** (layout.depth - 8)))
    if layout.rgb:
        green, blue, red = (plane * scale for plane in planes)
        colour = np.stack([red, green, blue])
        luma, *chroma = np.tensordot(RGB_TO_YCC, colour, 1) + YCC_ZERO[:, None, None]
    else:
        luma, *chroma = (plane * scale for plane in planes)
    height, width = (-(-side // 2) for side in luma.shape)
    grid = np.empty((6, height, width), np.float32)
    fold(luma, grid[:4])
    if not chroma:
        grid[4:] = GREY
    for channel, plane in enumerate(chroma, start=4):
        same = plane.shape == (height, width)
        grid[channel] = (
            plane if same else cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
        )
    return grid


def to_rgb(planes: Sequence[Plane], layout: PixelLayout) -> Floats:
    """Planes of one region as RGB (3, h, w), 0..1."""
    scale = np.float32(1 / (2**layout.depth - 1))
    height, width = planes[0].shape
    whole = [cv2.resize(p.astype(np.float32) * scale, (width, height)) for p in planes]
    if layout.rgb:
        green, blue, red = whole
        return np.stack([red, green, blue])
    luma, *chroma = whole
    ycc = np.stack([luma, *(chroma or [np.full_like(luma, GREY)] * 2)])
    return np.asarray(np.tensordot(YCC_TO_RGB, ycc - YCC_ZERO[:, None, None], 1), np.float32)


def from_rgb(picture: Floats, like: Sequence[Plane], layout: PixelLayout) -> tuple[Plane, ...]:
    """The inverse of `to_rgb`: planes of the shapes and dtype of `like`."""
    top = np.float32(2**layout.depth - 1)
    if layout.rgb:
        whole = [picture[1], picture[2], picture[0]]
    else:
        whole = list(np.tensordot(RGB_TO_YCC, picture, 1) + YCC_ZERO[:, None, None])
    return tuple(
        rounded_like(
            (
                cv2.resize(
                    np.asarray(plane, np.float32), wanted.shape[::-1], interpolation=cv2.INTER_AREA
                )
                * top
            ).clip(0, top),
            wanted,
        )
        for plane, wanted in zip(whole, like, strict=False)
    )


def fold(luma: Floats, grid: Floats) -> None:
    """Write a plane into four channels (4, h, w): the samples of each 2x2 block, row by row.

    A plane of odd sides has its last row or column twice.
    """
    height, width = luma.shape
    if height % 2 or width % 2:
        luma = np.pad(luma, [(0, height % 2), (0, width % 2)], "edge")
    for channel, (row, column) in enumerate(BLOCK):
        grid[channel] = luma[row::2, column::2]


def luma_of(grid: NDArray[Sample], shape: tuple[int, ...]) -> NDArray[Sample]:
    """The luma (h, w) of a grid (4 or more, h / 2, w / 2), cut to `shape`."""
    _, height, width = grid.shape
    luma = np.empty((2 * height, 2 * width), grid.dtype)
    for channel, (row, column) in enumerate(BLOCK):
        luma[row::2, column::2] = grid[channel]
    return np.ascontiguousarray(luma[: shape[0], : shape[1]])


def from_grid(grid: Floats, like: Sequence[Plane], layout: PixelLayout) -> tuple[Plane, ...]:
    """The inverse of `to_grid`: planes of the shapes and dtype of `like`."""
    top = np.float32(2**layout.depth - 1)
    scale = np.float32(255 * 2 ** (layout.depth - 8))
    luma = luma_of(grid, like[0].shape)
    chroma = [
        plane if plane.shape == wanted.shape else cv2.resize(plane, wanted.shape[::-1])
        for plane, wanted in zip(grid[4:], like[1:], strict=False)
    ]
    if layout.rgb:
        ycc = np.stack([luma, *chroma]) - YCC_ZERO[:, None, None]
        red, green, blue = np.tensordot(YCC_TO_RGB, ycc, 1)
        whole = [green, blue, red]
    else:
        whole = [luma, *chroma]
    return tuple(
        rounded_like((plane * scale).clip(0, top), wanted)
        for plane, wanted in zip(whole, like, strict=True)
    )
