"""What a run looks like from inside: queues, batch caps and memory over its frames.

python bench/over_time.py --video CLIP [--output over-time.json] [--plot over-time.png]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.hardware.memory import read_memory

INTERVAL_S = 0.02
MIB = 1 << 20


async def traced(pipeline: Pipeline, clip: Path) -> list[dict[str, Any]]:
    """Readings of one run, the first when its corridor stands."""
    trace: list[dict[str, Any]] = []
    began = time.perf_counter()

    async def sample() -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            for reading in pipeline.readings():
                if reading.corridor is None or reading.phase != "cleaning":
                    continue
                queues = reading.corridor.queues
                trace.append(
                    {
                        "seconds": round(time.perf_counter() - began, 3),
                        "frames": reading.frames,
                        "queues": {name: q.queued / q.capacity for name, q in queues.items()},
                        "batch_caps": dict(reading.batch_caps),
                        "live_frames": reading.corridor.live.now,
                        "process_mib": read_memory().process // MIB,
                    }
                )

    with tempfile.TemporaryDirectory() as folder:
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(sample())
            await pipeline.process(clip, Path(folder) / "out.mp4")
            sampling.cancel()
    return trace


def plot_trace(trace: list[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    seconds = [moment["seconds"] for moment in trace]
    figure, axes = plt.subplots(4, 1, figsize=(8, 7), sharex=True, layout="constrained")
    names = list(trace[0]["queues"])
    fill = [[moment["queues"][name] for moment in trace] for name in names]
    axes[0].imshow(
        fill,
        aspect="auto",
        extent=(seconds[0], seconds[-1], len(names) - 0.5, -0.5),
        cmap="Blues",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_title("fill of the queues: white empty, blue full", fontsize=9)
    for name in trace[0]["batch_caps"]:
        axes[1].plot(seconds, [moment["batch_caps"][name] for moment in trace], label=name)
    axes[1].set_ylabel("batch cap")
    axes[1].legend(ncols=4, fontsize=8, frameon=False)
    axes[2].plot(seconds, [moment["live_frames"] for moment in trace], label="live frames")
    axes[2].plot(seconds, [moment["frames"] for moment in trace], label="frames encoded")
    axes[2].set_ylabel("frames")
    axes[2].legend(fontsize=8, frameon=False)
    axes[3].plot(seconds, [moment["process_mib"] for moment in trace])
    axes[3].set(ylabel="process, MiB", xlabel="seconds")
    axes[3].set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
    plt.close(figure)


async def _warm(clip: Path) -> list[dict[str, Any]]:
    async with Pipeline(PipelineConfig()) as pipeline:
        await traced(pipeline, clip)
        return await traced(pipeline, clip)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    trace = asyncio.run(_warm(arguments.video))
    if arguments.output:
        arguments.output.write_text(json.dumps(trace) + "\n")
    if arguments.plot:
        plot_trace(trace, arguments.plot)
    print(f"{len(trace)} readings, {trace[-1]['frames']} frames")


if __name__ == "__main__":
    main()
