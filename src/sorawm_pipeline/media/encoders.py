"""Which encoder answers to which codec, and how a quality wish is said to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import PurePath
from typing import get_args

import av
from av.codec import Codec
from av.codec.codec import find_best_pix_fmt_of_list

from sorawm_pipeline.config_sections import Preset
from sorawm_pipeline.errors import ConfigError, InputError
from sorawm_pipeline.hardware.codecs import UPLOADED
from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.encoder_limits import refusal
from sorawm_pipeline.media.planes import PLANAR_TWIN, PixelLayout, has_alpha, layout_of
from sorawm_pipeline.snapshot import value

PRESETS: tuple[str, ...] = get_args(Preset)
"""Names of effort, fastest first, as x264 and x265 know them; other encoders get their number."""


@value
@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """One way to encode a codec.

    Attributes:
        codec: what is asked for in `encode.codec`.
        encoder: libav's name of the encoder.
        crf: constant quality that looks like the source; a quantiser for those of `BY_QUANTISER`.
        max_crf: the largest that the encoder takes.
        delay: most pictures it keeps for lookahead and reordering.
    """

    codec: str
    encoder: str
    crf: int
    max_crf: int
    delay: int


ENCODERS = {
    choice.codec: choice
    for choice in (
        EncoderChoice("h264", "libx264", 18, 51, 96),
        EncoderChoice("hevc", "libx265", 20, 51, 96),
        EncoderChoice("av1", "libsvtav1", 28, 63, 128),
        EncoderChoice("vp9", "libvpx-vp9", 28, 63, 32),
        EncoderChoice("ffv1", "ffv1", 0, 63, 1),
        EncoderChoice("mjpeg", "mjpeg", 2, 31, 1),
        EncoderChoice("prores", "prores_ks", 0, 63, 1),
        EncoderChoice("vp8", "libvpx", 10, 63, 32),
        EncoderChoice("mpeg2video", "mpeg2video", 3, 31, 4),
        EncoderChoice("mpeg1video", "mpeg1video", 3, 31, 4),
        EncoderChoice("mpeg4", "mpeg4", 3, 31, 4),
    )
}

BY_QUANTISER = ("mjpeg", "mpeg2video", "mpeg1video", "mpeg4")
"""Codecs whose constant quality is a quantiser."""

LAMBDA_PER_QSCALE = 118
"""libav's global_quality is in these units (FF_QP2LAMBDA)."""


VBV_S = 2
"""Seconds over which bits are bounded."""

FALLBACKS = ("h264", "hevc", "av1", "vp9", "ffv1")

MUXER_OF_SUFFIX = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".qt": "mov",
    ".3gp": "3gp",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".m2ts": "mpegts",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
    ".vob": "vob",
    ".ogv": "ogg",
    ".ogg": "ogg",
    ".flv": "flv",
    ".nut": "nut",
}

MUXER_OF_DEMUXER = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "matroska",
    "avi": "avi",
    "mpegts": "mpegts",
    "mpeg": "mpeg",
    "flv": "flv",
    "ogg": "ogg",
}

UNTABLED_MUXERS = {
    "mpegts": {"h264", "hevc", "mpeg2video", "mpeg1video"},
    "mpeg": {"h264", "mpeg2video", "mpeg1video"},
    "vob": {"h264", "mpeg2video"},
    "ogg": {"vp8"},
}
"""What muxers take that publish no list of codecs."""


def muxer_for(name: str, demuxer: str) -> str:
    """The muxer that a file name's extension asks for, else the input's own kind.

    Raises:
        ConfigError: neither is known.
    """
    suffix = PurePath(name).suffix.lower()
    muxer = MUXER_OF_SUFFIX.get(suffix) or MUXER_OF_DEMUXER.get(demuxer)
    if muxer is None:
        raise ConfigError(
            f"no container is known for {name!r}; end the output's name in one of "
            + ", ".join(sorted(MUXER_OF_SUFFIX))
        )
    return muxer


def choose_encoder(wanted: str, clip: ClipInfo, muxer: str) -> EncoderChoice:
    """The encoder for `encode.codec`, where `source` means the codec of the input.

    `source` falls back to another codec that the container takes where nothing here encodes the
    input's, or not at its size or with its depth and colour. A codec asked for by name is taken at
    its word.

    Raises:
        ConfigError: the container cannot hold the codec asked for.
        InputError: nothing that this build encodes fits the container, or the codec asked for does
            not fit the clip.
    """
    layout, source_codec = clip.layout, clip.codec
    taken = UNTABLED_MUXERS.get(muxer) or _muxer_codecs(muxer)
    if wanted != "source":
        if wanted not in taken:
            raise ConfigError(
                f"a {muxer} file cannot hold {wanted} video; choose another encode.codec or "
                "another extension for the output"
            )
        choice = _for_picture(ENCODERS[wanted], rgb=layout.rgb)
        if (reason := _refusal(choice, clip)) is not None:
            raise InputError(f"{reason}; choose another encode.codec", kind="unsupported")
        return choice
    own = ENCODERS.get(source_codec) if layout.alpha and source_codec in taken else None
    if own is not None and has_alpha(pixel_format_for(own.encoder, layout.name)):
        return own  # rather with a little less depth than without transparency
    for codec in (source_codec, *FALLBACKS):
        if codec in ENCODERS and codec in taken:
            choice = _for_picture(ENCODERS[codec], rgb=layout.rgb)
            fine = keeps(layout, pixel_format_for(choice.encoder, layout.name))
            if fine and _refusal(choice, clip) is None:
                return choice
    raise InputError(
        f"nothing in this build encodes {source_codec} video of {clip.width}x{clip.height} "
        f"{layout.name} for a {muxer} file without loss of depth or colour; give the output "
        "another extension, such as .mkv",
        kind="unsupported",
    )


def _refusal(choice: EncoderChoice, clip: ClipInfo) -> str | None:
    pixels = pixel_format_for(choice.encoder, clip.layout.name)
    return refusal(choice.encoder, clip, layout_of(PLANAR_TWIN.get(pixels, pixels)))


def keeps(source: PixelLayout, target: str) -> bool:
    """Whether a pixel format has room for every sample of another one."""
    encoded = layout_of(PLANAR_TWIN.get(target, target))
    fine_enough = encoded.step_x <= source.step_x and encoded.step_y <= source.step_y
    return (
        encoded.depth >= source.depth
        and encoded.rgb == source.rgb
        and (fine_enough or source.colour_planes == 1)
    )


def _for_picture(choice: EncoderChoice, *, rgb: bool) -> EncoderChoice:
    if rgb and choice.encoder == "libx264":
        return replace(choice, encoder="libx264rgb")
    return choice


@cache
def _muxer_codecs(muxer: str) -> frozenset[str]:
    with av.open(BytesIO(), "w", format=muxer) as container:
        return frozenset(container.supported_codecs)


def options_for(
    choice: EncoderChoice, preset: str, crf: float | None, muxer: str, most: int | None = None
) -> dict[str, str]:
    """Encoder options for a preset name and a constant quality; `crf` None where bits are fixed.

    `most` bits per second bound a constant quality, over some seconds.

    Raises:
        ConfigError: the encoder has no such quality.
    """
    if crf is not None and crf > choice.max_crf:
        raise ConfigError(
            f"encode.quality: crf:{crf:g} is more than {choice.encoder} takes ({choice.max_crf})"
        )
    effort = PRESETS.index(preset)
    quality = {} if crf is None else {"crf": f"{crf:g}"}
    match choice.encoder:
        case "libx264" | "libx264rgb":
            no_pts = {"bf": "0"} if muxer == "avi" else {}  # AVI stores no presentation times
            bound = {"maxrate": str(most), "bufsize": str(VBV_S * most)} if most else {}
            return {"preset": preset} | quality | bound | no_pts
        case "libx265":
            params = "log-level=error"
            if most:
                params += f":vbv-maxrate={most // 1000}:vbv-bufsize={VBV_S * most // 1000}"
            return {"preset": preset, "x265-params": params} | quality
        case "libsvtav1":
            bound = {"svtav1-params": f"mbr={max(1, most // 1000)}"} if most else {}
            return {"preset": str(12 - effort)} | quality | bound
        case "libvpx-vp9" | "libvpx":
            speed = {"deadline": "good", "cpu-used": str(max(0, 8 - effort) // 2 + 1)}
            none = "0" if choice.encoder == "libvpx-vp9" else "100M"  # for VP8, no limit
            ceiling = {"b": str(most) if most else none}
            return speed | quality | (ceiling if quality else {})
        case "ffv1":
            return {"level": "3", "slicecrc": "1", "slices": "4"}
        case _:
            return {}


def pixel_format_for(encoder: str, source_format: str) -> str:
    """The format that an encoder is given pictures in: the source's, or the one nearest to it."""
    offered = UPLOADED.get(encoder) or [
        pixel_format.name for pixel_format in Codec(encoder, "w").video_formats or ()
    ]
    if not offered or source_format in offered:
        return source_format
    best, _ = find_best_pix_fmt_of_list(offered, source_format, has_alpha=has_alpha(source_format))
    return str(best.name) if best is not None else offered[0]


def nominal_rate(average: Fraction | None) -> Fraction:
    """A frame rate for rate control and headers; timing comes from pts alone."""
    rate = average or Fraction(30)
    return min(max(rate, Fraction(1)), Fraction(1000)).limit_denominator(1_000_000)
