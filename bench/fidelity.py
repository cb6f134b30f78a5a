"""How a re-encode looks beside its source, and how large it is: SSIM of luma, bytes of the picture.

    python bench/fidelity.py [--frames 120] [--as hevc ...] [--output FILE.json] CLIP...

Each clip goes through the program with nothing to look for, so that every picture is re-encoded and
none is filled, at `encode.quality: auto`, at crf:18, and at 1.2 times the source's bit rate, the
rule of the program that this one replaces; all with the profile's preset. Longer clips are cut to
their first frames by copying packets. With `--as` the sources are those frames as an encoder of
another codec makes them, at the settings of `MAKERS`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.stream import VideoStream
from figures import ssim_map

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.media.encoders import LAMBDA_PER_QSCALE

MAKERS = {
    "h264": ("libx264", ".mp4", {"preset": "medium", "crf": "23"}),
    "hevc": ("libx265", ".mp4", {"preset": "fast", "crf": "26", "x265-params": "log-level=error"}),
    "vp9": ("libvpx-vp9", ".webm", {"crf": "32", "b": "0", "deadline": "good", "cpu-used": "4"}),
    "av1": ("libsvtav1", ".mp4", {"preset": "8", "crf": "35"}),
    "mpeg2video": ("mpeg2video", ".mpg", {"qscale": "5", "bf": "2"}),
    "mpeg4": ("mpeg4", ".avi", {"qscale": "5"}),
}
"""Encoder, container and options of sources: what those who make clips commonly use."""

GOP = 60
"""Frames from one key frame of such a source to the next, at most."""

WAYS = {"auto": "auto", "crf 18": "crf:18", "1.2 times the bits": ""}


def shortened(clip: Path, frames: int, folder: Path) -> Path:
    """The clip, or its first packets of video in a file of its own."""
    with av.open(str(clip)) as container:
        source = container.streams.video[0]
        if 0 < source.frames <= frames:
            return clip
        target = folder / f"{clip.stem}-cut.mkv"
        with av.open(str(target), "w") as output:
            stream = output.add_stream_from_template(source)
            packets = (packet for packet in container.demux(source) if packet.size)
            for packet in islice(packets, frames):
                packet.stream = stream
                output.mux(packet)
    return target


def made(clip: Path, codec: str, folder: Path) -> Path:
    """The clip as a source of another codec."""
    encoder, suffix, options = MAKERS[codec]
    target = folder / f"{clip.stem}-{codec}{suffix}"
    with av.open(str(clip)) as container, av.open(str(target), "w") as output:
        source = container.streams.video[0]
        rate = source.average_rate or 25
        quantiser = int(options.get("qscale", 0))
        plain = {name: value for name, value in options.items() if name != "qscale"}
        stream = output.add_stream(encoder, rate=rate, options=plain)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuv420p"
        stream.codec_context.gop_size = GOP
        if quantiser:
            stream.codec_context.qscale = True
            stream.codec_context.qmin = stream.codec_context.qmax = quantiser
            stream.codec_context.global_quality = quantiser * LAMBDA_PER_QSCALE
        for number, picture in enumerate(container.decode(source)):
            picture = picture.reformat(format="yuv420p")
            picture.pts, picture.time_base = number, 1 / Fraction(rate)
            picture.pict_type = PictureType.NONE
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return target


def lumas(path: Path) -> Iterator[Any]:
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            yield picture.to_ndarray(format="gray")


def picture_bytes(path: Path) -> tuple[int, float, str]:
    """Bytes of the video packets, their bits per second, and the codec."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert isinstance(stream, VideoStream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        size = sum(packet.size for packet in packets)
        rate = float(stream.average_rate or 25)
        return size, 8 * size * rate / len(packets), stream.codec_context.name


async def compared(clip: Path, folder: Path, ways: Mapping[str, str]) -> dict[str, Any]:
    size, bits, codec = picture_bytes(clip)
    row: dict[str, Any] = {"clip": clip.stem, "codec": codec, "kilobits": round(bits / 1000)}
    for name, quality in ways.items():
        config = PipelineConfig.model_validate(
            {
                "detect": {"weights": "none"},
                "encode": {
                    "quality": quality or f"bitrate:{int(1.2 * bits)}",
                    "splice": "off",
                },
            }
        )
        result = folder / f"result{clip.suffix}"
        await Pipeline(config).process(clip, result, overwrite=True)
        ssims = [
            float(ssim_map(one, other).mean())
            for one, other in zip(lumas(clip), lumas(result), strict=True)
        ]
        row[name] = {
            "size": round(picture_bytes(result)[0] / size, 3),
            "ssim": round(float(np.mean(ssims)), 4),
            "lowest": round(min(ssims), 4),
        }
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: {
            "size": round(float(np.mean([row[name]["size"] for row in rows])), 3),
            "largest": max(row[name]["size"] for row in rows),
            "smallest": min(row[name]["size"] for row in rows),
            "ssim": round(float(np.mean([row[name]["ssim"] for row in rows])), 4),
            "lowest_clip": min(row[name]["ssim"] for row in rows),
        }
        for name in WAYS
        if name in rows[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--as", dest="codecs", nargs="+", choices=MAKERS, default=())
    parser.add_argument("--only-auto", action="store_true", help="leave the other two ways out")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    ways = {"auto": WAYS["auto"]} if arguments.only_auto else WAYS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for clip in arguments.clips:
            short = shortened(clip, arguments.frames, folder)
            for source in [made(short, codec, folder) for codec in arguments.codecs] or [short]:
                rows.append(asyncio.run(compared(source, folder, ways)))
                print(json.dumps(rows[-1]), flush=True)
    found = {"frames": arguments.frames, "clips": rows, "all": summary(rows)}
    print(json.dumps(found["all"], indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
