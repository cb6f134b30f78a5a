"""Pictures as arrays: I420 (n, h * 3/2, w) as decoded, and planes cut from it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box

Pixels = NDArray[np.uint8]
Planes = tuple[Pixels, Pixels, Pixels]
"""Y (n, h, w), U and V (n, h/2, w/2)."""

FPS = 30


def i420(rgb: Pixels) -> Pixels:
    """RGB (h, w, 3) as I420 (h * 3/2, w), limited range, BT.601."""
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    return np.asarray(frame.reformat(format="yuv420p").to_ndarray(), np.uint8)


def rgb_of(picture: Pixels) -> Pixels:
    """I420 (h * 3/2, w) as RGB (h, w, 3)."""
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def planes(pictures: Pixels, size: tuple[int, int]) -> Planes:
    """Views of the planes of I420 pictures (n, h * 3/2, w)."""
    width, height = size
    flat = pictures.reshape(len(pictures), -1)
    area, half = width * height, (len(pictures), height // 2, width // 2)
    return (
        flat[:, :area].reshape(-1, height, width),
        flat[:, area : area * 5 // 4].reshape(half),
        flat[:, area * 5 // 4 :].reshape(half),
    )


def cut(pictures: Pixels, size: tuple[int, int], box: Box, frames: slice) -> Planes:
    """Copies of the samples under an even-cornered `box` of some frames."""
    y, u, v = boxed(planes(pictures[frames], size), box, Box(0, 0, *size))
    return y.copy(), u.copy(), v.copy()


def boxed(pictures: Planes, box: Box, outer: Box) -> Planes:
    """Views of the samples under `box` of planes that show `outer`; all corners are even."""
    luma, u, v = pictures
    rows, columns = box.within(outer)
    down = slice(rows.start // 2, rows.stop // 2)
    across = slice(columns.start // 2, columns.stop // 2)
    return luma[:, rows, columns], u[:, down, across], v[:, down, across]


def packed(pictures: Planes) -> Pixels:
    """The first of some pictures as I420 (h * 3/2, w)."""
    flat = np.concatenate([plane[0].ravel() for plane in pictures])
    return flat.reshape(-1, pictures[0].shape[2])


def decoded(path: Path, size: tuple[int, int], count: int) -> Pixels:
    """The frames of a yuv420p clip as I420 (n, h * 3/2, w).

    Raises:
        ValueError: there are not `count` of them.
    """
    pictures = np.empty((count, size[1] * 3 // 2, size[0]), np.uint8)
    number = 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            if number < count:
                pictures[number] = frame.to_ndarray(format="yuv420p")
            number += 1
    if number != count:
        raise ValueError(f"{path} has {number} frames, expected {count}")
    return pictures


def encode(
    path: Path,
    frames: Iterable[Pixels],
    size: tuple[int, int],
    crf: int,
    preset: str,
    keys: int = FPS,
) -> None:
    """Compress I420 pictures (h * 3/2, w) with x264, a key frame every `keys` frames at least."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": preset, "g": str(keys)}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="yuv420p")))
        container.mux(stream.encode(None))
