"""Everything that is measured about speed and memory, in one command.

    python bench/suite.py --video CLIP [--quick] [--output DIR]

CLIP should show marks most of the time. Each bench runs in a process of its own, one after the
other, and leaves JSON, plots and tables in DIR. Without --quick it takes an hour on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

BENCH = Path(__file__).parent


def commands(video: Path, output: Path, *, quick: bool) -> Iterator[list[str]]:
    """Each bench with its arguments."""
    short = ["--quick"] if quick else []

    def result(name: str) -> list[str]:
        return ["--output", str(output / name)]

    yield ["performance_test.py", "--video", str(video), "--output", str(output), *short]
    inside = ["--plot", str(output / "over-time.png")]
    yield ["over_time.py", "--video", str(video), *result("over-time.json"), *inside]
    yield ["fill_cost.py", str(video), *result("fill-cost.json")]
    yield ["runtimes.py", *result("runtimes.json")]
    yield ["engine_overhead.py", *result("engine-overhead.json"), *short]
    yield ["startup.py", *result("startup.json")]
    plot = ["--plot", str(output / "gpu-machine.png")]
    yield ["gpu_machine.py", *result("gpu-machine.json"), *plot, *short]
    yield ["fidelity.py", str(video), *result("fidelity.json")]
    for size, frames in (
        ("1920x1080", ("100", "300" if quick else "1000")),
        ("3840x2160", ("120",)),
        ("704x1280", ("300", "600" if quick else "3000")),
    ):
        yield ["memory.py", "--size", size, "--frames", *frames, *result(f"memory-{size}.json")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("performance"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for script, *rest in commands(arguments.video, arguments.output, quick=arguments.quick):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, BENCH / script, *rest], check=False)
        print(f"{script}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        if done.returncode:
            failed.append(script)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
