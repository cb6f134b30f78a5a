"""Small clips for tests, made with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.clip import Limits, as_fraction
from sorawm_pipeline.media.frame import Box

FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg")
LIMITS = Limits(max_pixels=4096 * 4096, max_seconds=3600, formats=FORMATS)
WIDTH, HEIGHT = 96, 64
MARK = Box(16, 8, 48, 24)
"""Where `marked` draws its mark."""

Picture = NDArray[np.uint8]
Draw = Callable[[int], Picture]


def scene(index: int, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A dark picture that moves, RGB (height, width, 3), no sample above 140."""
    y, x = np.mgrid[0:height, 0:width]
    base = (x * 3 + y * 2 + index * 5) % 100
    return np.stack([base + 20, base + 30, 140 - base], axis=-1).astype(np.uint8)


def marked(index: int) -> Picture:
    """The scene with a white mark at MARK."""
    picture = scene(index)
    picture[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1] = 255
    return picture


@dataclass(frozen=True)
class Clip:
    """What to make; the defaults are a plain MP4 of marked frames."""

    frames: int = 12
    draw: Draw = marked
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None
    pts: Sequence[int] | None = None
    audio: bool = False
    rotation: int = 0
    sample_aspect: Fraction | None = None
    colour: tuple[int, int, int, int] | None = None
    options: tuple[tuple[str, str], ...] = (("crf", "4"), ("preset", "ultrafast"))
    tags: tuple[tuple[str, str], ...] = ()

    def write(self, path: Path) -> Path:
        first = self.draw(0)
        with av.open(str(path), "w") as container:
            container.metadata.update(dict(self.tags))
            options = {} if self.codec == "ffv1" else dict(self.options)
            video = container.add_stream(self.codec, rate=self.rate, options=options)
            assert isinstance(video, av.VideoStream)
            video.width, video.height = first.shape[1], first.shape[0]
            video.pix_fmt = self.pix_fmt
            base = self.time_base or 1 / self.rate
            video.codec_context.time_base = base
            if self.sample_aspect is not None:
                video.sample_aspect_ratio = self.sample_aspect
            if self.rotation:
                video.set_display_rotation(self.rotation)
            if self.colour is not None:
                context = video.codec_context
                (
                    context.color_primaries,
                    context.color_trc,
                    context.colorspace,
                    context.color_range,
                ) = self.colour
            sound = container.add_stream("aac", rate=48_000, layout="mono") if self.audio else None
            for index in range(self.frames):
                frame = av.VideoFrame.from_ndarray(self.draw(index), format="rgb24")
                frame = frame.reformat(format=self.pix_fmt)
                frame.pts = self.pts[index] if self.pts else index
                frame.time_base = base
                container.mux(video.encode(frame))
                if sound is not None:
                    container.mux(sound.encode(_noise(index)))
            container.mux(video.encode(None))
            if sound is not None:
                container.mux(sound.encode(None))
        return path


def _noise(index: int, count: int = 1920) -> av.AudioFrame:
    samples = np.random.default_rng(index).normal(0, 0.1, (1, count)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, index * count, Fraction(1, 48_000)
    return frame


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        for index in range(5):
            container.mux(sound.encode(_noise(index)))
        container.mux(sound.encode(None))
    return path


def remuxed(source: Path, target: Path, flags: str = "") -> Path:
    """The same packets in another container, or with other `movflags`."""
    options = {"movflags": flags} if flags else {}
    with av.open(str(source)) as before, av.open(str(target), "w", options=options) as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                after.mux(packet)
    return target


def pictures(path: Path) -> list[list[NDArray[np.generic]]]:
    """Every frame's planes as decoded."""
    with av.open(str(path)) as container:
        return [
            [
                np.frombuffer(memoryview(plane), np.uint8)
                .reshape(-1, plane.line_size)[: plane.height]
                .copy()
                for plane in frame.planes
            ]
            for frame in container.decode(video=0)
        ]


def rgb(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return [np.asarray(frame, np.uint8) for frame in frames]


def times(path: Path) -> list[Fraction]:
    """Presentation times of the decoded frames, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = as_fraction(stream.time_base)
        assert base is not None
        return [base * (frame.pts or 0) for frame in container.decode(stream)]


def packets(path: Path, kind: str) -> list[tuple[int | None, int | None, bytes]]:
    """pts, dts and payload of every packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (packet.pts, packet.dts, bytes(packet))
            for packet in container.demux(stream)
            if packet.dts is not None
        ]
