"""The other side of `codecs`: tries codecs in a process of its own, one line of JSON for each.

Here, and only here, libav's messages are caught through Python, to learn why a codec does not
open. A process with frame threads can deadlock on that callback; this one starts none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import Any, Literal

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange

from sorawm_pipeline.hardware.codecs import (
    ACCELERATED,
    DECODERS,
    ENCODERS,
    UPLOADED,
    CodecProbe,
    Kind,
    known,
    upload_device,
)

_ON_DEVICE = ("cuda", "qsv", "vaapi", "d3d11", "videotoolbox")
WIDTH, HEIGHT = 320, 192  # hardware encoders refuse pictures much smaller

_QUICK: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


class _Unfit(Exception):  # noqa: N818 - never leaves this file
    """A codec that opens but does not do its work."""


def probe(kind: Kind, codec: str, name: str) -> CodecProbe:
    """Encode a picture with encoder `name` and decode it, or decode one with `name`."""
    encoder = name if kind == "encoder" else ENCODERS[codec][0]
    decoder = name if kind == "decoder" else DECODERS[codec][0]
    device = name if kind == "accelerator" else None
    if device is not None:
        decoder = ACCELERATED[codec]
        if device not in hwdevices_available():
            return CodecProbe(kind, codec, name, "not in this build of PyAV")
    with av.logging.Capture() as messages:
        try:
            context, packets = _encode(encoder)
            _decode(decoder, context, packets, device)
        except av.codec.codec.UnknownCodecError:
            return CodecProbe(kind, codec, name, "not in this build of PyAV")
        except (av.error.FFmpegError, ValueError, NotImplementedError, _Unfit) as error:
            told = dict.fromkeys(text.strip().rstrip(".") for _, _, text in messages)
            return CodecProbe(kind, codec, name, "; ".join(told) or str(error))
    return CodecProbe(kind, codec, name)


def _context(name: str, mode: Literal["r", "w"], device: str | None = None) -> VideoCodecContext:
    hwaccel = None
    if device is not None:  # decoded pictures stay on it, or nobody could tell that it made them
        hwaccel = HWAccel(device, allow_software_fallback=False, is_hw_owned=True)
    context = av.CodecContext.create(name, mode, hwaccel=hwaccel)
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    return context


def _encode(name: str) -> tuple[VideoCodecContext, list[Packet[Any]]]:
    """One black picture from encoder `name`."""
    context = _context(name, "w", upload_device(name))
    formats = UPLOADED.get(name, [given.name for given in context.codec.video_formats or ()])
    context.pix_fmt = "yuv420p" if "yuv420p" in formats or not formats else formats[0]
    context.width, context.height = WIDTH, HEIGHT
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    if name == "mjpeg":
        context.color_range = ColorRange.JPEG
    context.options = dict(_QUICK.get(name, {}))
    picture = av.VideoFrame(WIDTH, HEIGHT, context.pix_fmt)
    for plane in picture.planes:
        plane.update(bytes(plane.buffer_size))
    picture.pts = 0
    return context, [*context.encode(picture), *context.encode(None)]


def _decode(
    name: str, source: VideoCodecContext, packets: list[Packet[Any]], device: str | None
) -> None:
    context = _context(name, "r", device)
    context.extradata = source.extradata
    context.width, context.height = source.width, source.height
    pictures = [picture for packet in (*packets, None) for picture in context.decode(packet)]
    sizes = [(picture.width, picture.height) for picture in pictures]
    if sizes != [(WIDTH, HEIGHT)]:
        raise _Unfit(f"one picture of {WIDTH}x{HEIGHT} went in, {sizes} came out")
    if device is not None and not pictures[0].format.name.startswith(_ON_DEVICE):
        raise _Unfit(f"the picture came from software, as {pictures[0].format.name}")


def main() -> None:
    """Probe everything after the first N, where N is the only argument."""
    av.logging.set_level(av.logging.ERROR)
    for kind, codec, name in known()[int(sys.argv[1]) :]:
        print(json.dumps(asdict(probe(kind, codec, name))), flush=True)


if __name__ == "__main__":
    main()
