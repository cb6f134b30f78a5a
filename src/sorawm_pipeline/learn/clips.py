"""Frames spread over a clip, as it is displayed, and pictures as a codec leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from sorawm_pipeline.config_sections import LimitsConfig
from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import Limits, open_input, probe

Pixels = NDArray[np.uint8]

MOST_FRAMES = 3000  # looked at in one clip


def spread(path: Path, count: int) -> list[Pixels]:
    """Return at least one and at most `count` frames at even distances, RGB (h, w, 3).

    Raises:
        InputError: the file is no clip that can be decoded.
    """
    limits = Limits.of(LimitsConfig())
    info = probe(path, limits)
    kept: list[Pixels] = []
    step = 1
    with open_input(path, limits) as container:
        stream = container.streams[info.stream_index]
        if not isinstance(stream, VideoStream):
            raise InputError(f"{path} changed while it was being read")
        try:
            for number, frame in enumerate(container.decode(stream)):
                if number >= MOST_FRAMES:
                    break
                if number % step:
                    continue
                if len(kept) == count:  # twice as far apart from here on
                    kept, step = kept[::2], step * 2
                    if number % step:
                        continue
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                kept.append(np.ascontiguousarray(info.display.upright(picture)))
        except av.error.FFmpegError as error:
            if not kept:
                raise InputError(f"{path} cannot be decoded: {error.strerror}") from error
    if not kept:
        raise InputError(f"{path} holds no frame that can be decoded", kind="no_video")
    return kept


CODEC_OPTIONS = {
    "h264": ("libx264", {"threads": "1"}),
    "hevc": ("libx265", {"x265-params": "log-level=none:pools=none:frame-threads=1"}),
}


def through_codec(frames: Sequence[Pixels], codec: str, crf: int, preset: str) -> Pixels:
    """Encode RGB frames of one even size (h, w, 3) as `h264` or `hevc`; return the last decoded."""
    options = {"crf": str(crf), "preset": preset, "tune": "zerolatency"}
    return np.asarray(coded(frames, codec, options)[-1].to_ndarray(format="rgb24"), np.uint8)


def coded(frames: Sequence[Pixels], codec: str, options: Mapping[str, str]) -> list[av.VideoFrame]:
    """What a codec, `h264` or `hevc`, leaves of RGB frames of one even size (h, w, 3): yuv420p."""
    height, width = frames[0].shape[:2]
    name, always = CODEC_OPTIONS[codec]
    encoder = av.CodecContext.create(name, "w")
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(encoder, av.VideoCodecContext)
    assert isinstance(decoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {**options, **always}
    decoder.thread_count = 1
    decoded: list[av.VideoFrame] = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        picture.pts = number
        for packet in encoder.encode(picture):
            decoded += decoder.decode(packet)
    for packet in encoder.encode(None):
        decoded += decoder.decode(packet)
    decoded += decoder.decode(None)
    return decoded
