"""Clean one video through the old, synchronous surface.

    python examples/clean_video.py clip.mp4 cleaned.mp4 [--benchmark]

`--benchmark` also tells how long it took, stage by stage, and what memory it needed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sorawm_pipeline.compat import SoraWM, memory_manager
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.report import ClipReport

BAR = 30
MIB = 1 << 20
BATCH, FRAME = 8, (1080, 1920, 3)


def show(percent: int) -> None:
    """Draw the progress bar over itself."""
    full = BAR * percent // 100
    print(f"\r[{'#' * full}{'-' * (BAR - full)}] {percent:3d}%", end="", flush=True)


def tell_readings(when: str) -> None:
    host = memory_manager.get_memory_info()["cpu_memory"]
    pressure = "high" if memory_manager.is_memory_pressure_high() else "low"
    batch = memory_manager.get_optimal_batch_size(BATCH, FRAME)
    print(
        f"memory {when}: process {host['process'] / MIB:.0f} MiB, "
        f"{host['available'] / MIB:.0f} of {host['total'] / MIB:.0f} MiB free, "
        f"pressure {pressure}, batch {batch} of {BATCH} frames of 1080p"
    )


def tell_benchmark(report: ClipReport) -> None:
    print(f"frames: {report.frames.encoded}, {report.frames.marked} of them marked")
    print(f"speed: {report.fps:.1f} frames per second, {report.wall_s:.2f} s")
    print(f"loading models: {report.startup_s:.2f} s")
    print(f"peak memory: {report.peak_rss_bytes / MIB:.0f} MiB")
    print("stage      computing  waiting for input  waiting for room")
    for name, stage in report.stages.items():
        waits = f"{stage.wait_in_s:17.2f}s {stage.wait_out_s:16.2f}s"
        print(f"{name:<10} {stage.busy_s:8.2f}s {waits}")


def main() -> int:
    parser = argparse.ArgumentParser(description="clean one video")
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--benchmark", action="store_true", help="also tell times and memory")
    arguments = parser.parse_args()
    if arguments.benchmark:
        tell_readings("before")
    try:
        report = SoraWM().run(arguments.input, arguments.output, show)
    except PipelineError as error:
        print(f"\n{error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return 130
    print(f"\n{report.output}")
    if arguments.benchmark:
        tell_benchmark(report)
        memory_manager.cleanup_memory()
        tell_readings("after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
