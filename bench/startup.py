"""How long the program takes to start: commands, the first frame, the largest imports.

    python bench/startup.py [--rounds 7] [--output startup.json]

Each command is a process of its own, medians over the rounds. `first frame` is from the start of a
process until the first frame of a small clip has been encoded, models loaded meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from memory import write_clip

PROGRAM = (sys.executable, "-m", "sorawm_pipeline")
FIRST_FRAME = """
import asyncio, sys, time
from sorawm_pipeline import Pipeline
async def first():
    async with Pipeline() as pipeline:
        async for progress in pipeline.events(sys.argv[1], sys.argv[2]):
            if progress.frames:
                print(time.time())
                return
asyncio.run(first())
"""
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|(\s+)(\S+)")
LARGEST = 8


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_frame(folder: Path) -> float:
    """Seconds from the start of a process to its first encoded frame."""
    clip, output = folder / "clip.mp4", folder / "out.mp4"
    output.unlink(missing_ok=True)
    began = time.time()
    told = subprocess.run(
        (sys.executable, "-c", FIRST_FRAME, str(clip), str(output)),
        check=True,
        capture_output=True,
        text=True,
    )
    return float(told.stdout.split()[-1]) - began


def largest_imports() -> list[dict[str, Any]]:
    """Packages by the time that their own modules take when the pipeline is imported."""
    told = subprocess.run(
        (sys.executable, "-X", "importtime", "-c", "import sorawm_pipeline.pipeline"),
        check=True,
        capture_output=True,
        text=True,
    )
    own: dict[str, int] = {}
    for line in told.stderr.splitlines():
        if match := IMPORT.match(line):
            package = match[4].partition(".")[0]
            own[package] = own.get(package, 0) + int(match[1])
    ranked = sorted(own.items(), key=lambda item: -item[1])[:LARGEST]
    return [{"package": name, "ms": round(spent / 1e3)} for name, spent in ranked]


def measured(rounds: int) -> dict[str, Any]:
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "--help": (*PROGRAM, "--help"),
        "models list": (*PROGRAM, "models", "list"),
        "doctor": (*PROGRAM, "doctor"),
    }
    samples: dict[str, list[float]] = {name: [] for name in (*commands, "first frame")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / "clip.mp4", 704, 1280, 120)
        for _ in range(rounds + 1):
            for label, command in commands.items():
                samples[label].append(seconds(*command))
            samples["first frame"].append(first_frame(folder))
    return {
        "rounds": rounds,
        "load_average": list(os.getloadavg()),
        "seconds": {k: round(statistics.median(v[1:]), 3) for k, v in samples.items()},
        "largest_imports": largest_imports(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    result = measured(arguments.rounds)
    print(json.dumps(result, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
