"""What a cluster costs beside the work: starting it, and each piece.

    python bench/ray_overhead.py [--pieces 40] [--rounds 3] [--output ray-overhead.json]

A small clip (96x64) is cut into many short pieces, whose work is next to nothing, and cleaned by
this process, by one process of its own (`pieces.workers` with one slot), and by one actor of a Ray
cluster of three nodes on this machine (`ray.cluster_utils`), in turn. Told are the seconds until
hands are ready and have done a first clip, and, warm, the milliseconds for each piece: found,
restored, stored and joined.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.cluster import connected
from sorawm_pipeline.segments.hands import Hands, processes

RATE, GROUP, WIDTH, HEIGHT = 25, 10, 96, 64
STORE_BYTES = 80 << 20


def write_clip(path: Path, pieces: int) -> None:
    scene = np.random.default_rng(0).integers(30, 150, (HEIGHT, WIDTH, 3), np.uint8)
    options = {"preset": "ultrafast", "g": str(GROUP), "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(pieces * GROUP):
            picture = np.roll(scene, index, 1)
            if index % GROUP:
                picture[8:18, 8:30] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def config(**sections: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "device": "cpu",
            "detect": {"weights": "none", "regions": [{"box": [8, 8, 30, 18], "to_s": 0.2}]},
            "encode": {"splice": "off"},
            "inpaint": {"method": "membrane", "margin": 2},
            "temporal": {"window": 4},
            "pieces": {"from_s": 0, "length_s": GROUP / RATE},
            **sections,
        }
    )


@asynccontextmanager
async def hands_of(kind: str, address: str) -> AsyncIterator[tuple[PipelineConfig, Hands | None]]:
    if kind == "cluster":
        wanted = config(cluster={"address": address, "slots": 1})
        async with connected(wanted) as actors:
            yield wanted, actors
    elif kind == "process":
        async with processes(config(), 1) as one:
            yield config(), one
    else:
        yield config(), None


async def measured(kind: str, clip: Path, address: str, rounds: int) -> dict[str, float]:
    began = time.perf_counter()
    async with hands_of(kind, address) as (wanted, hands), Pipeline(wanted, hands) as pipeline:
        seconds: list[float] = []
        count = 1
        for _ in range(rounds + 1):
            started = time.perf_counter()
            report = await pipeline.process(clip, clip.with_name("out.mp4"), overwrite=True)
            seconds.append(time.perf_counter() - started)
            pieces = report.pieces
            assert pieces is not None
            assert pieces.reason is None, pieces.reason
            count = pieces.pieces
            if len(seconds) == 1:
                first = time.perf_counter() - began
    return {
        "first_clip_s": round(first, 2),
        "warm_clip_s": round(median(seconds[1:]), 2),
        "ms_per_piece": round(1000 * median(seconds[1:]) / count, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = ":".join(path for path in sys.path if path)
    from ray.cluster_utils import Cluster

    started = time.perf_counter()
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=0, object_store_memory=STORE_BYTES, include_dashboard=False)
        for _ in range(3):
            cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        told: dict[str, Any] = {
            "pieces": arguments.pieces,
            "cluster_start_s": round(time.perf_counter() - started, 2),
        }
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / "clip.mp4"
            write_clip(clip, arguments.pieces)
            for kind in ("here", "process", "cluster"):
                told[kind] = asyncio.run(measured(kind, clip, cluster.address, arguments.rounds))
    finally:
        cluster.shutdown()
    print(json.dumps(told, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
