"""What looking at few frames saves: `detect` at strides 1 and 16, in turns, medians of the rounds.

    python bench/sparse.py CLIP... [--rounds 7] [--output FILE.json]

Wall time is from opening the clip to the last frame's marks, decoding included, models warm.
Beside it: how many frames were looked at, and on how many frames both find the same marks (IoU of
at least 0.5, as many).
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from clip_command import measure_clips

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.config import DetectConfig
from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.report import DetectReport, FrameMarks

STRIDES = (1, 16)


def same(one: FrameMarks, other: FrameMarks) -> bool:
    boxes = [[Box(*(int(v) for v in m.box)) for m in frame.marks] for frame in (one, other)]
    if len(boxes[0]) != len(boxes[1]):
        return False
    return all(max((a.iou(b) for b in boxes[1]), default=0.0) >= 0.5 for a in boxes[0])


async def measure(clip: Path, rounds: int) -> dict[str, Any]:
    walls: dict[int, list[float]] = {stride: [] for stride in STRIDES}
    found: dict[int, DetectReport] = {}
    pipelines = {s: Pipeline(PipelineConfig(detect=DetectConfig(stride=s))) for s in STRIDES}
    async with pipelines[1], pipelines[16]:
        for number in range(rounds + 1):  # the first warms up
            for stride, pipeline in pipelines.items():
                began = time.perf_counter()
                found[stride] = await pipeline.detect(clip)
                if number:
                    walls[stride].append(time.perf_counter() - began)
    frames = len(found[1].frames)
    medians = {stride: statistics.median(walls[stride]) for stride in STRIDES}
    return {
        "clip": clip.name,
        "frames": frames,
        "looks": {str(s): found[s].frames_inferred for s in STRIDES},
        "ms_per_frame": {str(s): round(medians[s] / frames * 1e3, 2) for s in STRIDES},
        "times_faster": round(medians[1] / medians[16], 2),
        "frames_alike": sum(map(same, found[1].frames, found[16].frames)),
    }


if __name__ == "__main__":
    measure_clips(__doc__, measure)
