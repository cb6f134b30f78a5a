"""How a re-encode looks beside its source, and how large it is: SSIM of luma, bytes of the picture.

    python bench/fidelity.py [--frames 120] [--output FILE.json] CLIP...

Each clip goes through the program with nothing to look for, so that every picture is re-encoded and
none is filled, at `encode.quality: auto`, at crf:18, and at 1.2 times the source's bit rate, the
rule of the program that this one replaces; all with the profile's preset. Longer clips are cut to
their first frames by copying packets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from figures import ssim_map

from sorawm_pipeline import Pipeline, PipelineConfig

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


async def compared(clip: Path, folder: Path) -> dict[str, Any]:
    size, bits, codec = picture_bytes(clip)
    row: dict[str, Any] = {"clip": clip.stem, "codec": codec, "kilobits": round(bits / 1000)}
    for name, quality in WAYS.items():
        config = PipelineConfig.model_validate(
            {
                "detect": {"weights": "none"},
                "encode": {"quality": quality or f"bitrate:{int(1.2 * bits)}"},
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
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for clip in arguments.clips:
            rows.append(asyncio.run(compared(shortened(clip, arguments.frames, folder), folder)))
            print(json.dumps(rows[-1]), flush=True)
    found = {"frames": arguments.frames, "clips": rows, "all": summary(rows)}
    print(json.dumps(found["all"], indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
