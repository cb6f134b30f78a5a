"""How fast the program is beside the one it replaces, and beside decoding and encoding alone.

    python bench/performance_test.py --video CLIP [--quick] [--only NAME...] [--output DIR]

Everything takes turns within each round, models warm; figures are medians over the rounds (7, or 3
with --quick). CLIP should show marks most of the time. Measured:

- seed: the program as published (bench/seed_program.py), its first few frames: it needs seconds
  for each, and its time per frame hardly depends on how many there are;
- seed, own parts: the same algorithm with this program's detector, fill and encoder settings;
- seed, own fill: that with YOLO11s in torch on every frame, its first few frames;
- this program with YOLO11s: as `balanced`, every look through YOLO11s as well;
- this program by profile;
- decoding and encoding alone at the settings of `balanced`: by this program's engine, by PyAV in
  one loop, also as it encodes unless told otherwise, and by the ffmpeg program if there is one.

DIR gets performance.json (with the environment and all samples), plots, and performance.md. With
--only, just the variants of these names take turns, such as `--only balanced PyAV` for a long clip.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from own_parts import own_fill, own_look
from seed_program import PUBLISHED, SeedProgram, lama, yolo11s
from speed_pages import page_of, write_plots

from sorawm_pipeline import Pipeline, PipelineConfig, warm
from sorawm_pipeline.config import PROFILES
from sorawm_pipeline.hardware.cores import frame_threads
from sorawm_pipeline.media.clip import Limits, probe
from sorawm_pipeline.media.encoders import ENCODERS
from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.media.source_quality import read_sample
from sorawm_pipeline.report import ClipReport, DetectReport
from sorawm_pipeline.stages.picture_encoder import EncodeSettings
from sorawm_pipeline.stages.trial import matched_quality
from sorawm_pipeline.vision.detector import Detection, Detector

if TYPE_CHECKING:
    import torch

SEED_FRAMES, YOLO_FRAMES = 2, 16
"""Frames of the clip that the slowest variants are given."""

NOTHING_LOOKED_AT: dict[str, Any] = {
    "detect": {"weights": "none"},
    "inpaint": {"method": "none"},
    "temporal": {"window": 0},
    "encode": {"splice": "off"},
}
WITH_YOLO11S = "balanced, YOLO11s"
PYAV_IN_SLICES = "PyAV, slices"
RATIOS = (
    ("times as fast as the seed", "seed", "balanced"),
    ("times as fast as its algorithm with our parts", "seed, own parts", "balanced"),
    ("the same, both with YOLO11s", "seed, own fill", WITH_YOLO11S),
    ("share of the speed of PyAV alone", "PyAV", "balanced"),
    ("the same, PyAV encoding in slices as it does by itself", PYAV_IN_SLICES, "balanced"),
    ("the same, performance", "PyAV, performance", "performance"),
    ("the same, nothing found or filled", "PyAV", "decode and encode"),
)
Run = Callable[[], Awaitable[int]]


@dataclass
class Variant:
    """One way to process the clip.

    Attributes:
        run: processes it once; returns how many frames that were.
        wall, cpu: milliseconds per frame of each round, CPU of this process and its children.
        extra: what else is known, from the last round.
    """

    run: Run
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    async def measure(self) -> None:
        cpu, began = _cpu_seconds(), time.perf_counter()
        frames = await self.run()
        self.wall.append((time.perf_counter() - began) / frames * 1e3)
        self.cpu.append((_cpu_seconds() - cpu) / frames * 1e3)

    def figures(self) -> dict[str, Any]:
        wall, cpu = statistics.median(self.wall), statistics.median(self.cpu)
        samples = {"wall": _rounded(self.wall), "cpu": _rounded(self.cpu)}
        figures = {"ms_per_frame": round(wall, 3), "cpu_ms_per_frame": round(cpu, 3)}
        return {**figures, "samples": samples, **self.extra}


def _cpu_seconds() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


class Yolo11sBeside(Detector):
    """The built-in detector, which has every picture go through YOLO11s first."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._yolo = yolo11s()

    def detect(self, images: NDArray[np.uint8] | torch.Tensor) -> list[list[Detection]]:
        for image in np.asarray(images):
            self._yolo(image)
        return super().detect(images)


class Variants:
    """All of them, on one clip, into one folder."""

    def __init__(self, clip: Path, found: DetectReport, folder: Path) -> None:
        self._clip, self._folder = clip, folder
        self._boxes = [
            Box(*(int(v) for v in frame.marks[0].box)) if frame.marks else None
            for frame in found.frames
        ]

    def made(self, pipelines: dict[str, Pipeline]) -> dict[str, Variant]:
        look, fill, yolo = own_look(), own_fill(), yolo11s()
        ours = settings("balanced", self._clip)
        variants = {
            "seed": self._seed(SeedProgram(yolo, lama(), PUBLISHED), SEED_FRAMES),
            "seed, own parts": self._seed(SeedProgram(look, fill, ours), None),
            "seed, own fill": self._seed(SeedProgram(yolo, fill, ours), YOLO_FRAMES),
            **{name: self._ours(pipeline) for name, pipeline in pipelines.items()},
            "PyAV": Variant(partial(self._pyav, ours)),
            PYAV_IN_SLICES: Variant(partial(self._pyav, ours, in_slices=True)),
            "PyAV, performance": Variant(partial(self._pyav, settings("performance", self._clip))),
        }
        if shutil.which("ffmpeg"):
            variants["ffmpeg"] = Variant(partial(self._ffmpeg, ours))
        return variants

    def _seed(self, program: SeedProgram, limit: int | None) -> Variant:
        async def run() -> int:
            before = dict(program.seconds)
            frames = program.run(self._clip, self._folder / "out.mp4", self._boxes, limit)
            variant.extra = {
                "frames": frames,
                "steps_ms_per_frame": {
                    step: round((seconds - before.get(step, 0)) / frames * 1e3, 2)
                    for step, seconds in program.seconds.items()
                },
            }
            return frames

        variant = Variant(run)
        return variant

    def _ours(self, pipeline: Pipeline) -> Variant:
        async def run() -> int:
            report = await pipeline.process(self._clip, self._folder / "out.mp4", overwrite=True)
            variant.extra = _told(report)
            return report.frames.encoded

        variant = Variant(run)
        return variant

    async def _pyav(self, options: dict[str, str], *, in_slices: bool = False) -> int:
        count = 0
        with (
            av.open(str(self._clip)) as source,
            av.open(str(self._folder / "out.mp4"), "w") as target,
        ):
            clip = source.streams.video[0]
            clip.thread_type = "AUTO"
            stream = target.add_stream("libx264", rate=clip.average_rate, options=options)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height = clip.codec_context.width, clip.codec_context.height
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_type = "SLICE" if in_slices else "FRAME"
            stream.codec_context.thread_count = 0 if in_slices else frame_threads()
            for frame in source.decode(clip):
                frame.pict_type = av.video.frame.PictureType.NONE
                target.mux(stream.encode(frame))
                count += 1
            target.mux(stream.encode(None))
        return count

    async def _ffmpeg(self, settings: dict[str, str]) -> int:
        options = [part for key, value in settings.items() for part in (f"-{key}", value)]
        words = ["ffmpeg", "-v", "error", "-y", "-i", str(self._clip), "-c:v", "libx264"]
        command = [*words, *options, "-c:a", "copy", str(self._folder / "out.mp4")]
        await asyncio.to_thread(subprocess.run, command, check=True, stdin=subprocess.DEVNULL)
        return len(self._boxes)


def settings(profile: str, clip: Path) -> dict[str, str]:
    """Options of x264 as a profile sets them for a clip."""
    config = PipelineConfig.model_validate({"profile": profile})
    limits, choice = Limits.of(config.decode.limits), ENCODERS["h264"]
    info = probe(clip, limits)
    sample = read_sample(info, limits, choice.codec)
    ours = EncodeSettings(choice, "mp4", config.encode.preset)
    crf = None if sample is None else matched_quality(info, sample, ours)
    return {"preset": config.encode.preset, "crf": str(choice.crf if crf is None else crf)}


def _told(report: ClipReport) -> dict[str, Any]:
    assert report.detector is not None
    frames = report.frames.encoded
    return {
        "frames": frames,
        "marked": report.frames.marked,
        "looks": report.detector.frames_inferred,
        "runtime": report.inpainter.runtime if report.inpainter else None,
        "live_frames": report.live_frames.model_dump() if report.live_frames else None,
        "queues": {name: queue.model_dump() for name, queue in report.queues.items()},
        "stages_ms_per_frame": {
            name: {
                key: round(getattr(stage, key) / frames * 1e3, 3)
                for key in ("busy_s", "wait_in_s", "wait_out_s")
            }
            for name, stage in report.stages.items()
        },
    }


def configurations() -> dict[str, PipelineConfig]:
    """This program as it is measured, by name."""
    return {
        **{name: PipelineConfig.model_validate({"profile": name}) for name in PROFILES},
        WITH_YOLO11S: PipelineConfig(),
        "decode and encode": PipelineConfig.model_validate(NOTHING_LOOKED_AT),
    }


async def measured(clip: Path, rounds: int, only: Sequence[str] = ()) -> dict[str, Any]:
    found = await Pipeline().detect(clip)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = {
            name: await stack.enter_async_context(Pipeline(config))
            for name, config in configurations().items()
        }
        variants = Variants(clip, found, folder).made(ours)
        variants = {name: variants[name] for name in only or variants}
        for number in range(rounds + 1):  # the first warms up
            for label, variant in variants.items():
                # A pipeline loads its detector on its first run, and keeps it.
                kind = Yolo11sBeside if label == WITH_YOLO11S else Detector
                with patch.object(warm, "Detector", kind):
                    await variant.measure()
                print(f"{number} of {rounds}: {label} {variant.wall[-1]:.2f} ms", file=sys.stderr)
    for variant in variants.values():
        del variant.wall[0], variant.cpu[0]
    return {label: variant.figures() for label, variant in variants.items()}


def environment(clip: Path) -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        size = f"{stream.codec_context.width}x{stream.codec_context.height}"
    packages = ("av", "torch", "onnxruntime", "openvino", "opencv-python-headless", "numpy")
    return {
        "clip": clip.name,
        "size": size,
        "processor": model,
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def ratios(figures: dict[str, Any], cores: int) -> dict[str, float]:
    """What is promised: the medians of each round's ratios, since a machine's pace changes.

    Those whose variants were not measured are left out.
    """

    def median(over: list[float], under: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(over, under, strict=True))

    def wall(name: str) -> list[float]:
        samples: list[float] = figures[name]["samples"]["wall"]
        return samples

    told = {
        label: median(wall(over), wall(under))
        for label, over, under in RATIOS
        if over in figures and under in figures
    }
    if "balanced" in figures:
        bound = [cpu / cores for cpu in figures["balanced"]["samples"]["cpu"]]
        told["share of the bound that the CPU time sets"] = median(bound, wall("balanced"))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--only", nargs="+", default=[], help="names of variants")
    parser.add_argument("--output", type=Path, default=Path("performance"))
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 7
    before = environment(arguments.video)
    figures = asyncio.run(measured(arguments.video, rounds, arguments.only))
    result = {
        "environment": before,
        "rounds": rounds,
        "ratios": {k: round(v, 3) for k, v in ratios(figures, os.cpu_count() or 1).items()},
        "figures": figures,
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "performance.json").write_text(json.dumps(result, indent=1) + "\n")
    if not arguments.only:
        write_plots(result, arguments.output)
    page = page_of(result)
    (arguments.output / "performance.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
