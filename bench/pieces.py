"""A clip done in pieces beside the same clip done in one go: boxes, times, and pixels.

    python bench/pieces.py [--length 2] [--long N] [--region X0,Y0,X1,Y1] [--output FILE] CLIP...

Both results are FFV1, which loses nothing, so pixels are those before the encoder. `--long` lowers
the number of frames of a run of marks before a piece that are restored once more: pieces of runs
that are longer are not exact, and this shows by how much they are not; `--region` names a mark that
stands in all frames, so that a clip is one long run. Networks are loaded in their plain form. Told
are the frames that differ, the largest difference of a sample and the PSNR over all frames that
differ, and the frames that were decoded for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import numpy as np

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.report import ClipReport
from sorawm_pipeline.segments import plan
from sorawm_pipeline.vision import cpu_forms

LOSSLESS = {"encode": {"codec": "ffv1"}}


async def done(pipeline: Pipeline, clip: Path, output: Path) -> tuple[ClipReport, float]:
    started = time.perf_counter()
    report = await pipeline.process(clip, output)
    return report, time.perf_counter() - started


def compared(one: Path, other: Path) -> dict[str, Any]:
    """Frame by frame, in 8- or 16-bit steps of the samples."""
    frames = differing = largest = 0
    squared, samples = 0.0, 0
    same_times = True
    with av.open(str(one)) as first, av.open(str(other)) as second:
        for a, b in zip_longest(first.decode(video=0), second.decode(video=0)):
            if a is None or b is None:
                return {"frames": frames, "same_times": False}
            frames += 1
            same_times &= a.pts == b.pts
            apart = a.to_ndarray().astype(np.int64) - b.to_ndarray()
            if apart.any():
                differing += 1
                largest = max(largest, int(np.abs(apart).max()))
                squared += float((apart**2).sum())
                samples += apart.size
    psnr = 10 * math.log10(255**2 * samples / squared) if squared else None
    return {
        "frames": frames,
        "same_times": same_times,
        "frames_differing": differing,
        "largest_difference": largest,
        "psnr_of_these": psnr and round(psnr, 2),
    }


async def measured(clip: Path, length_s: float, region: list[float] | None) -> dict[str, Any]:
    given = {"weights": "none", "regions": [{"box": region}]} if region else {}
    one_go, pieces = (
        PipelineConfig.model_validate({**LOSSLESS, "detect": given, "pieces": wanted})
        for wanted in ({"length_s": 0}, {"from_s": 0, "length_s": length_s})
    )
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("one.mkv", "pieces.mkv")]
        reports = []
        for config, output in zip((one_go, pieces), outputs, strict=True):
            async with Pipeline(config) as pipeline:
                reports.append(await done(pipeline, clip, output))
        (whole, whole_s), (row, row_s) = reports
        assert row.pieces is not None
        return {
            "clip": clip.parent.parent.name + "/" + clip.name,
            "pieces": row.pieces.pieces,
            "reason": row.pieces.reason,
            "same_marks": whole.marks == row.marks,
            **compared(*outputs),
            "decoded": [whole.frames.decoded, row.frames.decoded],
            "seconds": [round(whole_s, 2), round(row_s, 2)],
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--length", type=float, default=2.0)
    parser.add_argument("--long", type=int)
    parser.add_argument("--region", type=lambda text: [float(part) for part in text.split(",")])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    cpu_forms.WINS = math.inf  # or each run might choose another form
    if arguments.long is not None:
        plan.LONG = arguments.long
    results = []
    for clip in arguments.clips:
        results.append(asyncio.run(measured(clip, arguments.length, arguments.region)))
        print(json.dumps(results[-1]), flush=True)
    told = {"length_s": arguments.length, "long": plan.LONG, "clips": results}
    if arguments.output:
        arguments.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
