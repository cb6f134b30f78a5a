"""What restoring costs beside decoding and encoding: medians of interleaved rounds, one run.

    python bench/fill_cost.py CLIP... [--rounds 7] [--output FILE.json]

CLIPs show marks. Each is processed in turns, models warm, encoder as by default:

- `plain`: decoded and encoded, nothing looked at;
- `found`: marks found, nothing restored;
- `whole`: the program as it is, the fill network on every other frame;
- `every`: the same with the network on every frame (`inpaint.stride: 1`).

Milliseconds of wall time per frame; `fill` is whole less found, for each marked frame, and `busy`
is the time in which the stages inpaint and temporal computed, which others' threads lengthen.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from clip_command import measure_clips

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.report import ClipReport

CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {"detect": {"weights": "none"}, "inpaint": {"method": "none"}},
    "found": {"inpaint": {"method": "none"}},
    "whole": {},
    "every": {"inpaint": {"stride": 1}},
}


async def measure(clip: Path, rounds: int) -> dict[str, Any]:
    reports: dict[str, list[ClipReport]] = {name: [] for name in CONFIGS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):  # the first warms up
            for name, sections in CONFIGS.items():
                pipeline = Pipeline(PipelineConfig.model_validate(sections))
                report = await pipeline.process(clip, f"{folder}/out.mp4", overwrite=True)
                if number:
                    reports[name].append(report)
    frames = reports["whole"][0].frames
    wall = {
        name: statistics.median(r.wall_s for r in some) / frames.encoded * 1e3
        for name, some in reports.items()
    }
    marked = frames.marked / frames.encoded
    busy = {
        name: statistics.median(
            r.stages["inpaint"].busy_s + r.stages["temporal"].busy_s for r in reports[name]
        )
        / frames.marked
        * 1e3
        for name in ("whole", "every")
    }
    return {
        "clip": clip.name,
        "frames": frames.encoded,
        "marked": frames.marked,
        "wall_ms_per_frame": {name: round(value, 2) for name, value in wall.items()},
        "fill_ms_per_marked_frame": {
            name: round((wall[name] - wall["found"]) / marked, 2) for name in busy
        },
        "busy_ms_per_marked_frame": {name: round(value, 2) for name, value in busy.items()},
    }


if __name__ == "__main__":
    measure_clips(__doc__, measure)
