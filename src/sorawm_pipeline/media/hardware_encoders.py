"""Encoders in hardware: which comes first, and how a quality wish is said to each maker's."""

from __future__ import annotations

from dataclasses import replace

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.hardware.codecs import ENCODERS, CodecProbe, probe_codecs
from sorawm_pipeline.media.encoders import (
    LAMBDA_PER_QSCALE,
    PRESETS,
    EncoderChoice,
    keeps,
    pixel_format_for,
)
from sorawm_pipeline.media.planes import PixelLayout

V4L2_BITRATE = "8M"
"""These encoders know no constant quality."""

_QSV = ("veryfast", "veryfast", "veryfast", "faster", "fast", "medium", "slow", "slower")
_AMF = ("speed", "speed", "speed", "speed", "balanced", "balanced", "quality", "quality")

HARDWARE = frozenset(name for names in ENCODERS.values() for name in names[1:])


def hardware_choice(
    software: EncoderChoice, layout: PixelLayout
) -> tuple[EncoderChoice | None, list[tuple[str, str]]]:
    """The first encoder in hardware that works and loses no depth or colour; and why others do not.

    The order is that of `hardware.codecs.ENCODERS`: NVENC, Quick Sync, AMF, VideoToolbox, VA-API,
    V4L2. Each was proved by a picture that it encoded and a decoder decoded, once per process.
    """
    tried: list[tuple[str, str]] = []
    for probe in _probes(software.codec):
        if probe.reason is not None:
            tried.append((probe.name, probe.reason))
        elif not _loses_nothing(probe.name, layout):
            tried.append((probe.name, f"it does not encode {layout.name} without loss"))
        else:
            return replace(software, encoder=probe.name), tried
    return None, tried


def _loses_nothing(encoder: str, layout: PixelLayout) -> bool:
    try:
        return keeps(layout, pixel_format_for(encoder, layout.name))
    except InputError:
        return False  # its nearest format is packed in a way that nothing here handles


def _probes(codec: str) -> list[CodecProbe]:
    return [
        probe
        for probe in probe_codecs()
        if probe.kind == "encoder" and probe.codec == codec and probe.hardware
    ]


def hardware_options(encoder: str, preset: str, quality: float | None) -> dict[str, str]:
    """Options for a preset's name and a constant quality, which is None where bits are fixed."""
    effort = min(PRESETS.index(preset), 7)
    level = None if quality is None else f"{quality:g}"
    whole = None if quality is None else f"{round(quality)}"
    match encoder.rpartition("_")[2]:
        case "nvenc":
            options = {"preset": f"p{1 + effort * 6 // 7}", "tune": "hq", "forced-idr": "1"}
            return options | ({"rc": "vbr", "cq": level, "b": "0"} if level else {})
        case "qsv":
            level = whole if encoder != "mjpeg_qsv" else _jpeg_quality(quality)
            return {"preset": _QSV[effort]} | ({"global_quality": level} if level else {})
        case "amf":
            constant = {"rc": "cqp", "qp_i": whole, "qp_p": whole} if whole else {}
            return {"quality": _AMF[effort]} | constant
        case "vaapi":
            return {} if quality is None else _vaapi_quality(encoder, quality)
        case "videotoolbox":
            # its own scale is 1 to 100, the best; x264's 18 is about 65
            scale = max(1, round(100 - 2 * (quality or 0)))
            return (
                {"flags": "+qscale", "global_quality": str(LAMBDA_PER_QSCALE * scale)}
                if whole
                else {}
            )
        case "v4l2m2m":
            return {"b": V4L2_BITRATE} if whole else {}
    return {}


def _vaapi_quality(encoder: str, quality: float) -> dict[str, str]:
    """H.264 and HEVC count as x264 does; the others on the scales of their streams."""
    match encoder.partition("_")[0]:
        case "h264" | "hevc":
            return {"rc_mode": "CQP", "qp": f"{round(quality)}"}
        case "mjpeg":  # told as a quantiser, and libav divides those by its lambda
            return {"global_quality": f"{LAMBDA_PER_QSCALE * int(_jpeg_quality(quality) or 1)}"}
        case "vp8":
            return {"rc_mode": "CQP", "global_quality": f"{max(1, round(127 / 63 * quality))}"}
    return {"rc_mode": "CQP", "global_quality": f"{max(1, round(255 / 63 * quality))}"}


def _jpeg_quality(quantiser: float | None) -> str | None:
    """The quality, 1 to 100, whose tables are as coarse as those of libav's own encoder.

    That one takes an eighth of the standard's for each step of the quantiser; Independent JPEG
    Group's scale is 200 - 2Q percent of them, or 5000/Q below 50.
    """
    if quantiser is None:
        return None
    return f"{max(1, round(100 - 6.25 * quantiser if quantiser <= 8 else 400 / quantiser))}"
