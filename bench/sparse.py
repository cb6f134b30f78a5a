"""What looking at few frames saves, and 8-bit integers: `detect` in turns, medians of the rounds.

    python bench/sparse.py CLIP... [--rounds 7] [--output FILE.json]

Strides 1 and 16 in 32-bit floats, and stride 1 in integers where this machine can. Wall time is
from opening the clip to the last frame's marks, decoding included, models warm. Beside it: how many
frames were looked at, and on how many frames the same marks are found as at stride 1 (IoU of at
least 0.5, as many).
"""

from __future__ import annotations

import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from clip_command import measure_clips

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.config import DetectConfig
from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.report import DetectReport, FrameMarks

EVERY = "1"
WAYS = {
    EVERY: DetectConfig(stride=1, precision="fp32"),
    "1 int8": DetectConfig(stride=1, precision="int8"),
    "16": DetectConfig(stride=16, precision="fp32"),
}


def same(one: FrameMarks, other: FrameMarks) -> bool:
    boxes = [[Box(*(int(v) for v in m.box)) for m in frame.marks] for frame in (one, other)]
    if len(boxes[0]) != len(boxes[1]):
        return False
    return all(max((a.iou(b) for b in boxes[1]), default=0.0) >= 0.5 for a in boxes[0])


async def measure(clip: Path, rounds: int) -> dict[str, Any]:
    walls: dict[str, list[float]] = {way: [] for way in WAYS}
    found: dict[str, DetectReport] = {}
    async with AsyncExitStack() as stack:
        pipelines = {
            way: await stack.enter_async_context(Pipeline(PipelineConfig(detect=detect)))
            for way, detect in WAYS.items()
        }
        for number in range(rounds + 1):  # the first warms up
            for way, pipeline in pipelines.items():
                began = time.perf_counter()
                found[way] = await pipeline.detect(clip)
                if number:
                    walls[way].append(time.perf_counter() - began)
    frames = len(found[EVERY].frames)
    medians = {way: statistics.median(taken) for way, taken in walls.items()}
    return {
        "clip": clip.name,
        "frames": frames,
        "looks": {way: found[way].frames_inferred for way in WAYS},
        "ms_per_frame": {way: round(medians[way] / frames * 1e3, 2) for way in WAYS},
        "times_faster": {way: round(medians[EVERY] / medians[way], 2) for way in WAYS},
        "frames_alike": {
            way: sum(map(same, found[EVERY].frames, found[way].frames)) for way in WAYS
        },
    }


if __name__ == "__main__":
    measure_clips(__doc__, measure)
