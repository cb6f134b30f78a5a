"""The command line of benches that measure one clip after the other."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def measure_clips(
    description: str | None, measure: Callable[[Path, int], Awaitable[dict[str, Any]]]
) -> None:
    """Ask for clips and rounds, print what `measure` tells of each clip, and keep it if asked."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    async def measured() -> list[dict[str, Any]]:
        return [await measure(clip, arguments.rounds) for clip in arguments.clips]

    results = asyncio.run(measured())
    result = {"cores": os.cpu_count(), "rounds": arguments.rounds, "clips": results}
    print(json.dumps(result, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
