"""What copying groups of pictures saves, beside encoding everything and beside a plain remux.

    python bench/splice.py [--size 1280x720] [--frames 600] [--rounds 3] [--output splice.json]

Two clips of H.264 with a key frame each second: one without a mark, one with the mark in a tenth of
its groups. Each is cleaned with `encode.splice` on and off by one warm pipeline, in turn, and its
packets are copied into a new file by PyAV alone. Times are medians of the rounds: from opening to
the published file, and of the processor over all threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.demo import MARK_HEIGHT, MARK_WIDTH, blend, draw_mark
from sorawm_pipeline.media.frame import Box

RATE = 30


def write_clip(path: Path, width: int, height: int, frames: int, marked: range) -> None:
    """A textured scene that drifts, with the mark in the frames of `marked`."""
    noise = np.random.default_rng(0).normal(0, 1, (height // 8, width // 8, 3))
    coarse = np.kron(noise, np.ones((8, 8, 1)))
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x * 120 // width, y * 120 // height, (x + y) % 120], axis=-1)
    scene = np.clip(ramp + 12 * coarse + 40, 0, 255).astype(np.uint8)
    options = {"preset": "medium", "crf": "20", "g": str(RATE), "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = np.roll(scene, 2 * index, axis=1)
            if index in marked:
                place = Box(40, 40, 40 + MARK_WIDTH, 40 + MARK_HEIGHT)
                blend(picture, draw_mark(0.0), place)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def remux(source: Path, target: Path) -> None:
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                after.mux(packet)


def payloads(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


async def measured(source: Path, folder: Path, rounds: int) -> dict[str, Any]:
    target = folder / "out.mp4"
    config = {way: PipelineConfig.model_validate({"encode": {"splice": way}})
              for way in ("auto", "off")}  # fmt: skip
    seconds: dict[str, list[float]] = {"auto": [], "off": [], "remux": []}
    cpu: dict[str, list[float]] = {"auto": [], "off": [], "remux": []}
    stages: dict[str, dict[str, float]] = {}
    splice: dict[str, Any] = {}
    identical = 0
    async with Pipeline(config["auto"]) as auto, Pipeline(config["off"]) as off:
        for round_ in range(rounds + 1):  # the first one loads the models
            for way, pipeline in (("auto", auto), ("off", off)):
                started = time.process_time()
                report = await pipeline.process(source, target, overwrite=True)
                used = time.process_time() - started
                assert report.encoder is not None
                if way == "auto":
                    assert report.encoder.splice is not None
                    splice = report.encoder.splice.model_dump()
                    copied = set(payloads(source))
                    identical = sum(packet in copied for packet in payloads(target))
                stages[way] = {name: round(s.busy_s, 3) for name, s in report.stages.items()}
                if round_:
                    seconds[way].append(report.wall_s)
                    cpu[way].append(used)
            started, begun = time.process_time(), time.perf_counter()
            remux(source, folder / "remux.mp4")
            seconds["remux"].append(time.perf_counter() - begun)
            cpu["remux"].append(time.process_time() - started)
    return {
        "seconds": {way: round(median(times), 3) for way, times in seconds.items()},
        "cpu_seconds": {way: round(median(times), 3) for way, times in cpu.items()},
        "busy_s": stages,
        "splice": splice,
        "packets": len(payloads(source)),
        "identical_packets": identical,
    }


async def results(size: tuple[int, int], frames: int, rounds: int) -> dict[str, Any]:
    groups = frames // RATE
    clips = {
        "without a mark": range(0),
        "mark in a tenth": range(RATE * (groups // 3), RATE * (groups // 3 + groups // 10)),
    }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for clip, marked in clips.items():
            source = folder / "clip.mp4"
            write_clip(source, *size, frames, marked)
            found[clip] = await measured(source, folder, rounds)
    return {
        "size": f"{size[0]}x{size[1]}",
        "frames": frames,
        "rounds": rounds,
        "python": platform.python_version(),
        "av": av.__version__,
        "clips": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    wanted = parser.parse_args()
    width, height = (int(side) for side in wanted.size.split("x"))
    text = json.dumps(asyncio.run(results((width, height), wanted.frames, wanted.rounds)), indent=1)
    print(text)
    if wanted.output is not None:
        wanted.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
