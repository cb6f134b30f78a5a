"""What the engine itself costs: microseconds per frame and stage on stages that do nothing.

    python bench/engine_overhead.py [--quick] [--output FILE.json]

A source and four stages, each on its own thread, joined by queues of 1, 4, 8 and 32 items. Beside
it SPDL (`spdl-core`) with the same number of synchronous no-op stages, concurrency 1, a thread
for each and queues of the same size; once with its default queue, which takes statistics like
ours, and once as lean as it goes (plain queue, thread-backed output queue). All variants take
turns within every round; figures are medians over the rounds. SPDL moves one item at a time, so
its cost per item does not depend on how many there are, and it is given fewer.

Wall time counts what else the machine does; CPU time (all threads of the process) does so less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sorawm_pipeline.engine import Corridor

STAGES = 4
CAPACITIES = (1, 4, 8, 32)


@dataclass
class Numbers:
    """A source that counts."""

    count: int
    name: str = "source"
    held: int = 0
    given: int = 0

    def open(self) -> None: ...

    def read(self, limit: int) -> Sequence[int]:
        start = self.given
        self.given = min(self.count, start + limit)
        return range(start, self.given)

    def close(self) -> None: ...


@dataclass
class Nothing:
    """A stage that passes its items on; the last one only counts them."""

    name: str
    last: bool
    held: int = 0
    max_cap: int = 32
    seen: int = 0

    def open(self) -> None: ...

    def cap(self) -> int:
        return self.max_cap

    def process(self, batch: Sequence[int]) -> Sequence[int]:
        self.seen += len(batch)
        return () if self.last else batch

    def flush(self) -> Sequence[int]:
        return ()

    def close(self) -> None: ...


def run_ours(items: int, capacity: int) -> int:
    stages = [Nothing(f"stage {n}", last=n == STAGES) for n in range(1, STAGES + 1)]
    asyncio.run(Corridor(Numbers(items), stages, capacity=capacity).run())
    return stages[-1].seen


def run_spdl(items: int, capacity: int, *, lean: bool) -> int:
    from spdl.pipeline import AsyncQueue, PipelineBuilder, StatsQueue

    base = AsyncQueue if lean else StatsQueue

    class Sized(base):  # type: ignore[misc, valid-type]  # the public way to set every queue's size
        def __init__(self, info: Any, *, buffer_size: int = 1) -> None:  # noqa: ARG002
            super().__init__(info, buffer_size=capacity)

    builder = PipelineBuilder().add_source(range(items))
    for n in range(1, STAGES + 1):
        builder.pipe(lambda item: item, concurrency=1, name=f"stage {n}")
    pipeline = builder.add_sink(capacity).build(
        num_threads=STAGES, queue_class=Sized, use_thread_output_queue=lean
    )
    with pipeline.auto_stop():
        return sum(1 for _ in pipeline.get_iterator(timeout=60))


def variants() -> dict[str, Callable[[int, int], int]]:
    found: dict[str, Callable[[int, int], int]] = {"ours": run_ours}
    try:
        metadata.version("spdl-core")
    except metadata.PackageNotFoundError:
        print("spdl-core is not installed: measuring ours alone", file=sys.stderr)
    else:
        found["spdl"] = lambda items, capacity: run_spdl(items, capacity, lean=False)
        found["spdl lean"] = lambda items, capacity: run_spdl(items, capacity, lean=True)
    return found


def measure(run: Callable[[int, int], int], items: int, capacity: int) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    seen = run(items, capacity)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if seen != items:
        raise RuntimeError(f"{items} items went in and {seen} came out")
    share = 1e6 / items / (STAGES + 1)
    return {"wall_us": wall * share, "cpu_us": cpu * share}


def environment() -> dict[str, Any]:
    packages = {name.metadata["Name"]: name.version for name in metadata.distributions()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()),
        "spdl-core": packages.get("spdl_core") or packages.get("spdl-core"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds of a tenth of the items")
    parser.add_argument("--items", type=int, default=20_000, help="items per run of ours")
    parser.add_argument("--spdl-items", type=int, default=4_000, help="items per run of SPDL")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    scale, rounds = (10, 3) if arguments.quick else (1, arguments.rounds)

    before = environment()
    samples: list[dict[str, Any]] = []
    for number in range(rounds):
        for capacity in CAPACITIES:
            for name, run in variants().items():
                items = (arguments.items if name == "ours" else arguments.spdl_items) // scale
                figures = measure(run, items, capacity)
                samples.append({"variant": name, "capacity": capacity, "items": items, **figures})
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)

    medians = summarise(samples)
    print(table(medians))
    if arguments.output:
        report = {
            "benchmark": "engine_overhead",
            "unit": "microseconds per frame and stage",
            "stages": STAGES + 1,
            "rounds": rounds,
            "environment": before,
            "medians": medians,
            "samples": samples,
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def summarise(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def of(capacity: int, variant: str, key: str) -> float:
        chosen: list[float] = [
            s[key] for s in samples if (s["capacity"], s["variant"]) == (capacity, variant)
        ]
        return round(statistics.median(chosen), 2)

    names = list(dict.fromkeys(sample["variant"] for sample in samples))
    rows: list[dict[str, Any]] = []
    for capacity in CAPACITIES:
        row: dict[str, Any] = {"capacity": capacity}
        for name in names:
            row[name] = {key: of(capacity, name, key) for key in ("wall_us", "cpu_us")}
        others = [row[name]["wall_us"] for name in names if name != "ours"]
        row["ours_to_best_spdl"] = (
            round(row["ours"]["wall_us"] / min(others), 3) if others else None
        )
        rows.append(row)
    return rows


def table(medians: list[dict[str, Any]]) -> str:
    names = [name for name in medians[0] if name not in ("capacity", "ours_to_best_spdl")]
    heads = ["capacity", *(f"{name} wall / cpu" for name in names), "ours to best SPDL"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " ---: |" * len(heads)]
    for row in medians:
        cells = [str(row["capacity"])]
        cells += [f"{row[name]['wall_us']:.1f} / {row[name]['cpu_us']:.1f}" for name in names]
        cells.append("" if row["ours_to_best_spdl"] is None else f"{row['ours_to_best_spdl']:.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "microseconds per frame and stage, medians\n\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
