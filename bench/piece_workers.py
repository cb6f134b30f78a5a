"""One long clip by one worker and by two, each with one core.

    python bench/piece_workers.py [--length 10] [--rounds 3] [--output piece-workers.json] CLIP

Workers are processes; each is bound to a core of its own, so that one worker is not helped by the
other's core. Beside them the clip is done in one go by one process with all cores, which is what a
single clip gets without `pieces.workers`. In turn; medians; `ideal` is one worker's time halved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.segments import hands
from sorawm_pipeline.segments.hands import processes


def config(length_s: float) -> PipelineConfig:
    return PipelineConfig.model_validate({"pieces": {"from_s": 0, "length_s": length_s}})


async def timed(clip: Path, output: Path, wanted: PipelineConfig, workers: int | None) -> float:
    async with AsyncExitStack() as stack:
        crew = None
        if workers is not None:
            crew = await stack.enter_async_context(processes(wanted, workers))
        pipeline = await stack.enter_async_context(Pipeline(wanted, crew))
        started = time.perf_counter()
        report = await pipeline.process(clip, output, overwrite=True)
        assert report.status == "done"
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--length", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]

    def one_each(_: list[int], slots: int) -> list[list[int]]:
        return [[core] for core in cores[:slots]]

    hands.shared_out = one_each  # type: ignore[assignment]
    ways: dict[str, tuple[float, int | None]] = {
        "one_go": (0.0, None),
        "pieces_here": (arguments.length, None),
        "one_worker": (arguments.length, 1),
        "two_workers": (arguments.length, 2),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / f"out{arguments.clip.suffix}"
        for _ in range(arguments.rounds):
            for way, (length_s, workers) in ways.items():
                wanted = config(length_s)
                seconds[way].append(asyncio.run(timed(arguments.clip, output, wanted, workers)))
                print(way, round(seconds[way][-1], 1), flush=True)
    told: dict[str, Any] = {way: round(median(times), 1) for way, times in seconds.items()}
    ratios = [
        one / two for one, two in zip(seconds["one_worker"], seconds["two_workers"], strict=True)
    ]
    told |= {
        "ideal_s": round(median(seconds["one_worker"]) / 2, 1),
        "speed_up_of_two": round(median(ratios), 2),
        "rounds": arguments.rounds,
        "length_s": arguments.length,
    }
    print(json.dumps(told, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
