"""How finely a source was encoded, so that what is encoded anew looks like it and is as large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.encparams import VideoEncParams
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.stream import VideoStream

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import ClipInfo, Limits, open_input
from sorawm_pipeline.media.encoders import EncoderChoice, options_for, pixel_format_for

PLACES, PICTURES, TRIED, BLOCKS = 2, 12, 8, 64
"""Places in a clip that are looked at, spread evenly; pictures at each whose quantisers are read,
and how many of these are encoded for a trial; blocks of a picture that are asked."""

FINER = 3.0
"""Steps by which an encoder's constant quality is finer than the source's mean quantiser: it is
faster than most that made sources, and so needs more bits for the same picture."""

FINEST, COARSEST = 10.0, 32.0
"""Bounds of the constant quality: from the first on nothing can be seen, and a source that is
coarser than the second would lose too much of what it has."""

LEAST, MOST = 0.85, 1.0
"""Shares of its source's size that a trial may have. Beyond them the quality is changed: the same
quantiser costs one encoder more than another where a picture is all grain, or all smooth."""

HALF = 6.0
"""Steps of quality that halve the bits."""

CEILING = 1.1
"""Share of its bit rate that a source's result may take where its quantisers cannot be read."""

CAPPED = ("h264", "hevc", "av1", "vp9")
"""Codecs of the result for which there is such a bound."""


@dataclass
class _Place:
    """Pictures from a key frame on, the bytes of their packets, their mean quantisers."""

    pictures: list[av.VideoFrame] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    quantisers: list[float] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(self.sizes.get(picture.pts or 0, 0) for picture in self.pictures)


def matched_crf(clip: ClipInfo, limits: Limits, choice: EncoderChoice, preset: str) -> float | None:
    """The x264 constant quality that gives a result of about the source's size and looks.

    None where the source or the encoder is not H.264, or its quantisers cannot be read. A source
    that cannot be decoded here is told of by those who have to decode it.
    """
    if clip.codec != "h264" or choice.codec != "h264":
        return None
    try:
        with closing(open_input(clip.path, limits)) as container:
            places = list(_places(container, clip))
            quantisers = [mean for place in places for mean in place.quantisers]
            if not quantisers:
                return None
            crf = float(np.mean(quantisers)) - 6 * (clip.layout.depth - 8) - FINER
            crf = min(COARSEST, max(FINEST, crf))
            before = sum(place.bytes for place in places)
            after = sum(_tried(place.pictures, clip, choice, preset, crf) for place in places)
    except (av.error.FFmpegError, InputError):
        return None
    share = after / before if before and after else 1.0
    crf += HALF * math.log2(share / min(MOST, max(LEAST, share)))
    return round(min(COARSEST, max(FINEST, crf)), 1)


def most_bits(clip: ClipInfo, limits: Limits, choice: EncoderChoice) -> int | None:
    """Bits per second that a result of constant quality may take, so that it does not bloat.

    None where `matched_crf` does better, or the source does not tell its own.
    """
    if choice.codec not in CAPPED or clip.codec == choice.codec == "h264":
        return None
    try:
        with closing(open_input(clip.path, limits)) as container:
            own = _bit_rate(container.streams[clip.stream_index])
            if not own:
                own = container.bit_rate - sum(map(_bit_rate, container.streams))
    except (av.error.FFmpegError, InputError):
        return None
    return int(own * CEILING) if own > 0 else None


def _bit_rate(stream: Stream) -> int:
    """Bits per second as the container tells, 0 if it does not."""
    return int(getattr(stream.codec_context, "bit_rate", None) or 0)


def _places(container: InputContainer, clip: ClipInfo) -> Iterator[_Place]:
    stream = container.streams[clip.stream_index]
    if not isinstance(stream, VideoStream):
        return
    stream.thread_type = "SLICE"
    stream.codec_context.options = {"export_side_data": "venc_params"}
    for number in range(PLACES if clip.seconds_claimed else 1):
        if number:
            later = (clip.seconds_claimed or 0) * number / PLACES / clip.time_base
            container.seek((stream.start_time or 0) + int(later), stream=stream)
        yield _place(container, stream)


def _place(container: InputContainer, stream: VideoStream) -> _Place:
    place = _Place()
    for packet in container.demux(stream):
        if packet.pts is not None:
            place.sizes[packet.pts] = packet.size
        for picture in packet.decode():
            if len(place.pictures) < TRIED:
                place.pictures.append(picture)
            told = picture.side_data.get("VIDEO_ENC_PARAMS")
            if isinstance(told, VideoEncParams):
                place.quantisers.append(_mean_of(told))
        if len(place.quantisers) >= PICTURES:
            break
    return place


def _mean_of(told: VideoEncParams) -> float:
    """The mean quantiser of some blocks of a picture, evenly spread."""
    blocks = range(0, told.nb_blocks, max(1, told.nb_blocks // BLOCKS))
    finer = [told.block_params(block).delta_qp for block in blocks]
    return told.qp + (float(np.mean(finer)) if finer else 0.0)


def _tried(
    pictures: list[av.VideoFrame], clip: ClipInfo, choice: EncoderChoice, preset: str, crf: float
) -> int:
    """Bytes that pictures take as the result would be encoded."""
    context = av.CodecContext.create(choice.encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = clip.width, clip.height
    context.pix_fmt = pixel_format_for(choice.encoder, clip.layout.name)
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.options = options_for(choice, preset, crf, "matroska")
    size = 0
    for number, picture in enumerate(pictures):
        copy = picture.reformat(format=context.pix_fmt)
        copy.pts, copy.time_base, copy.pict_type = number, context.time_base, PictureType.NONE
        size += sum(packet.size for packet in context.encode(copy))
    return size + sum(packet.size for packet in context.encode(None))
