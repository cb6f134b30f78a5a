"""A scene through the program itself, and what the program did outside of the marks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pictures import FPS, Planes, cut, decoded, planes
from scenes import Scene

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.report import ClipReport
from sorawm_pipeline.vision.restore import CONTEXT, FEATHER

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Cleaned:
    """What the program made of a scene.

    Attributes:
        pictures: I420 (n, h * 3/2, w).
        identical: outside of the patches, and on frames without marks, bit for bit.
        astray: samples of luma that differ there.
        method: the inpainter's name.
        fill_ms: busy time of the stages inpaint and temporal, for each marked frame.
        wall_ms: of the whole run, for each frame.
    """

    pictures: Pixels
    identical: bool
    astray: int
    method: str
    fill_ms: float
    wall_ms: float

    def regions(self, scene: Scene) -> list[Planes]:
        return [cut(self.pictures, scene.size, run.region, run.frames) for run in scene.runs]


def configured(scene: Scene, overrides: Sequence[str], find: bool) -> PipelineConfig:
    """Lossless, with the runs' boxes given, or found by the built-in detector."""
    regions = [
        {
            "box": [float(v) for v in run.given.as_tuple()],
            "from_s": max(0.0, (run.first - 0.5) / FPS),
            "to_s": (run.last - 0.5) / FPS,
        }
        for run in scene.runs
    ]
    detect: dict[str, Any] = {} if find else {"weights": "none", "regions": regions}
    return _config({"detect": detect, "encode": {"codec": "ffv1"}}, overrides)


def _config(sections: dict[str, Any], overrides: Sequence[str]) -> PipelineConfig:
    import json  # JSON is YAML

    return PipelineConfig.load_yaml(json.dumps(sections), "bench", overrides)


def processed(
    scene: Scene, output: Path, overrides: Sequence[str] = (), find: bool = False
) -> Cleaned:
    """Run the program over the scene's clip."""
    config = configured(scene, overrides, find)
    path = output / "cleaned.mkv"
    report = asyncio.run(Pipeline(config).process(scene.clip, path, overwrite=True))
    pictures = decoded(path, scene.size, len(scene.truth))
    path.unlink()
    astray = _astray(scene, pictures, config.inpaint.margin, report if find else None)
    busy = sum(report.stages[name].busy_s for name in ("inpaint", "temporal"))
    return Cleaned(
        pictures,
        astray == 0,
        astray,
        report.inpainter.method if report.inpainter else "none",
        busy / max(1, report.frames.marked) * 1e3,
        report.wall_s / max(1, report.frames.encoded) * 1e3,
    )


def plain_ms(scene: Scene, output: Path) -> float:
    """Milliseconds per frame of decoding and encoding alone, by default settings."""
    config = _config({"detect": {"weights": "none"}, "inpaint": {"method": "none"}}, ())
    path = output / "plain.mp4"
    report = asyncio.run(Pipeline(config).process(scene.clip, path, overwrite=True))
    path.unlink()
    return report.wall_s / max(1, report.frames.encoded) * 1e3


def patch_of(given: Box, margin: int, size: tuple[int, int]) -> Box:
    """The largest patch that the program may write for a box."""
    return given.grown(margin + FEATHER + CONTEXT).aligned(2, 2).clipped(*size)


def _astray(scene: Scene, pictures: Pixels, margin: int, found: ClipReport | None) -> int:
    """Samples that differ from the decoded input where no patch may lie."""
    allowed = [(run.frames, patch_of(run.given, margin, scene.size)) for run in scene.runs]
    if found is not None:
        for mark in found.marks:
            box = Box(*(round(v) for v in mark.box)).grown(8)
            frames = slice(mark.first_frame, mark.last_frame + 1)
            allowed.append((frames, patch_of(box, margin, scene.size)))
    differs = [
        made != given
        for made, given in zip(
            planes(pictures, scene.size), planes(scene.marked, scene.size), strict=True
        )
    ]
    for frames, box in allowed:
        for number, plane in enumerate(differs):
            step = 2 if number else 1
            plane[frames, box.y0 // step : box.y1 // step, box.x0 // step : box.x1 // step] = False
    return int(sum(plane.sum() for plane in differs))


def outside_psnr(scene: Scene, pictures: Pixels, margin: int) -> tuple[float, float]:
    """Summed squared error to the truth, and samples, of luma outside of the patches."""
    made, true = planes(pictures, scene.size)[0], planes(scene.truth, scene.size)[0]
    squared = samples = 0.0
    boxes = {
        index: patch_of(run.given, margin, scene.size)
        for run in scene.runs
        for index in range(run.first, run.last)
    }
    whole = Box(0, 0, *scene.size)
    for index, (one, other) in enumerate(zip(made, true, strict=True)):
        error = (one.astype(np.int16) - other).astype(np.int32) ** 2
        box = boxes.get(index, Box(0, 0, 0, 0))
        squared += float(error.sum()) - float(error[box.within(whole)].sum())
        samples += error.size - box.area
    return squared, samples
