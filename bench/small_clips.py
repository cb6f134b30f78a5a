"""Tiny clips of many containers and codecs, each with content of its own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 96, 64
CODEC_OF = {
    ".mp4": "libx264",
    ".mov": "libx264",
    ".mkv": "libx265",
    ".avi": "mpeg4",
    ".ts": "mpeg2video",
    ".webm": "libvpx-vp9",
}
"""Container by suffix, and the codec of a clip in it."""


def small_clip(path: Path, frames: int, seed: int) -> Path:
    """A moving picture of `frames` frames; one seed gives one content."""
    noise = np.random.default_rng(seed).integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)
    # written elsewhere first, so that whoever watches the folder sees it come whole
    hidden = path.with_name(f".{path.name}")
    with av.open(str(hidden), "w", format=_muxer(path)) as container:
        options = {"x265-params": "log-level=none"} if path.suffix == ".mkv" else {}
        stream = container.add_stream(CODEC_OF[path.suffix], rate=Fraction(25), options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            picture = np.roll(noise + 40, index * 2, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    hidden.replace(path)
    return path


def _muxer(path: Path) -> str:
    return {".mkv": "matroska", ".ts": "mpegts"}.get(path.suffix, path.suffix[1:])
