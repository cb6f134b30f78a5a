"""The constant quality at which a result is about as large as its source, found by trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO

import av
from av.video.frame import VideoFrame

from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.encoders import BY_QUANTISER, nominal_rate
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.source_quality import Sample
from sorawm_pipeline.stages.picture_encoder import EncodeSettings, PictureEncoder

FINER = 5.0
"""Steps by which x264's constant quality is finer than the mean quantiser of a source: it is faster
than most that made sources, and so needs more bits for the same picture."""

BOUNDS = {"h264": (10.0, 36.0), "hevc": (10.0, 38.0), "av1": (10.0, 58.0), "vp9": (8.0, 58.0)}
"""Finest and coarsest constant quality by codec: beyond the first nothing can be seen, and a source
that is coarser than the second would lose too much of what it has."""

QUANTISERS = (2.0, 20.0)
"""The same for codecs whose constant quality is a quantiser."""

GOAL, LEAST, MOST = 0.95, 0.9, 1.0
"""Share of the source's size that is aimed at, and between what it is near enough: what a sample
tells is off by a tenth now and then."""

HALF = {"h264": 6.0, "hevc": 6.0, "av1": 9.0, "vp9": 9.0}
"""Steps of constant quality that about halve the bits, by codec."""

STEEPEST, FLATTEST = 0.5, 2.5
"""Bounds of how many times as many steps that may really take."""

TRIALS = 2
"""Trials at most. A third changes little, for what is left is that a sample is a sample."""

Size = Callable[[float], float]
"""The share of its source's size that a result has at a constant quality."""


def matched_quality(clip: ClipInfo, sample: Sample, settings: EncodeSettings) -> float | None:
    """The constant quality for an encoder; None where it has none that can be matched.

    Raises:
        InputError: it does not take the clip.
    """
    codec = settings.choice.codec
    if codec in BY_QUANTISER:
        finest, coarsest = QUANTISERS
        found = matched(
            lambda steps: _share(clip, sample, settings, _quantiser(steps)),
            _steps(settings.choice.crf),
            _steps(2),
            (_steps(finest), _steps(coarsest)),
        )
        return _quantiser(found)
    if codec not in HALF:
        return None
    first = float(settings.choice.crf)
    if codec == "h264" and sample.quantiser is not None:
        first = sample.quantiser - 6 * (clip.layout.depth - 8) - FINER
    found = matched(
        lambda crf: _share(clip, sample, settings, crf), first, HALF[codec], BOUNDS[codec]
    )
    return round(found, 1)


def matched(size: Size, first: float, half: float, bounds: tuple[float, float]) -> float:
    """Where `size` is near `GOAL`, sought by the secant of its logarithm.

    Args:
        size: falls as what it is given rises.
        first: where to begin.
        half: by how much it has to rise to halve the size, about.
        bounds: of the result, and of where is looked.
    """
    finest, coarsest = bounds
    here = min(coarsest, max(finest, first))
    slope = half
    last: tuple[float, float] | None = None
    for _ in range(TRIALS):
        share = size(here)
        if LEAST <= share <= MOST or share <= 0:
            break
        if last is not None and here != last[0]:
            told = (here - last[0]) / math.log2(last[1] / share) if share != last[1] else half
            slope = min(FLATTEST * half, max(STEEPEST * half, told))
        last = here, share
        there = min(coarsest, max(finest, here + slope * math.log2(share / GOAL)))
        if there == here:
            break
        here = there
    return here


def _share(clip: ClipInfo, sample: Sample, settings: EncodeSettings, quality: float) -> float:
    trial = replace(settings, crf=quality, bitrate=None, most=None, gops=None, gop=None)
    return sample.share(lambda pictures: _tried(pictures, clip, trial))


def _tried(pictures: Iterable[VideoFrame], clip: ClipInfo, settings: EncodeSettings) -> list[int]:
    """Bytes of pictures as the result is encoded, in the order of decoding."""
    encoder = PictureEncoder(clip, settings)
    step = max(1, round(1 / (nominal_rate(clip.average_rate) * clip.time_base)))
    with av.open(BytesIO(), "w", format=settings.muxer) as scratch:
        stream = encoder.add_stream(scratch, {})
        encoder.open(stream)
        sizes = []
        for number, picture in enumerate(pictures):
            plain = picture.reformat(format=clip.layout.name)
            prepared = encoder.prepared(Frame(number, number * step, step, plain))
            sizes += [packet.size for packet in stream.encode(prepared)]
        sizes += [packet.size for packet in stream.encode(None)]
    return sizes


def _steps(quantiser: float) -> float:
    """A quantiser on a scale on which halving the bits takes about the same everywhere."""
    return 6 * math.log2(quantiser)


def _quantiser(steps: float) -> float:
    return round(2 ** (steps / 6))
