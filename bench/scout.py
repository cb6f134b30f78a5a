"""How many clips with the mark a look at key frames alone calls clean, and how many without it.

    python bench/scout.py --sources SOURCES --mark MARK.mp4 [--frames 150] [--output scout.json]

The bench's films and photographs (see sources.py), as they are and paled until the mark hardly
stands out, at two sizes each; over them the real mark as it wanders, one run of it of 66, 32, 16 or
8 frames anywhere in the clip, or none. Size of the mark, CRF and distance of key frames are drawn
by lot, the same each time. Clips that are called clean but have a mark are searched in full
afterwards, to see what that would have found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from drawn import Look
from footage import FILMS, Footage, footage
from marked_runs import Run, tracks
from pictures import Pixels, encode
from scenes import laid

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.stages.scout import Doubt, Scout
from sorawm_pipeline.warm import WarmDetector

SIZES = {"tall": (704, 1280), "wide": (1280, 704), "small": (640, 360)}
CAMERAS = ("pan", "handheld", "still", "zoom")
STAYS = {"wandering": 0, "66 frames": 66, "32 frames": 32, "16 frames": 16, "8 frames": 8}
CLEAN = "no mark"
KEYS = (15, 24, 30)
"""Frames from one key frame to the next, of 30 a second."""


@dataclass(frozen=True)
class Case:
    """A clip: what lies over it for how long, and how it is encoded."""

    stay: str
    runs: tuple[Run, ...]
    crf: int
    keys: int


def paled(pictures: Pixels) -> Pixels:
    """I420 (n, h * 3/2, w) over which white hardly stands out."""
    height = pictures.shape[1] * 2 // 3
    pale = pictures.copy()
    pale[:, :height] = (0.4 * pictures[:, :height] + 130).astype(np.uint8)
    pale[:, height:] = (0.4 * (pictures[:, height:].astype(np.float32) - 128) + 128).astype(
        np.uint8
    )
    return pale


def cases(
    mark: Path, size: tuple[int, int], frames: int, rng: np.random.Generator
) -> Iterator[Case]:
    for stay, length in (*STAYS.items(), (CLEAN, 0)):
        crf, keys = int(rng.integers(20, 33)), int(rng.choice(KEYS))
        look = Look(width=None if rng.integers(2) else round(0.09 * min(size)))
        start = int(rng.integers(0, 200))
        runs = tracks(look, mark, size, frames, start) if stay != CLEAN else []
        if length:
            whole = [run for run in runs if run.count >= min(length, 60)]
            run = whole[int(rng.integers(len(whole)))]
            length = min(length, run.count)
            first = int(rng.integers(0, frames - length + 1))
            runs = [
                replace(run, first=first, last=first + length, alpha=run.alpha[:length])
            ]  # the mark's colour never changes
        yield Case(stay, tuple(runs), crf, keys)


def scouted(path: Path, config: PipelineConfig, warm: WarmDetector) -> tuple[str | None, Scout]:
    """Why a clip is not called clean, None if it is; and who says so."""
    job = ClipJob(config, path)
    job.prepare(None, overwrite=False)
    room = job.room(warm, None)
    cap = warm.batch_cap(4, 4)
    search = partial(job.detect, warm, room)
    scout = Scout(job.clip, job.limits, warm.detector, cap, warm.believe, search)
    try:
        scout.open()
        while scout.step():
            pass
    except Doubt as doubt:
        return str(doubt), scout
    finally:
        scout.close()
    return None, scout


async def found_in_full(path: Path, config: PipelineConfig) -> int:
    report = await Pipeline(config).detect(path)
    return sum(bool(frame.marks) for frame in report.frames)


async def measured(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    config = PipelineConfig()
    rows = []
    rng = np.random.default_rng(arguments.seed)
    warm = WarmDetector(None, config)  # type: ignore[arg-type]  # there is one thread here only
    sources = sorted(path for path in arguments.sources.iterdir() if path.suffix != ".json")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "clip.mp4"
        for number, source in enumerate(sources):
            camera = "film" if source.suffix in FILMS else CAMERAS[number % len(CAMERAS)]
            for kind in ("small", ("tall", "wide")[number % 2]):
                size = SIZES[kind]
                what = Footage(source.name, camera)  # type: ignore[arg-type]
                truth = np.stack(list(footage(what, arguments.sources, size, arguments.frames)))
                for ground, pictures in (("as it is", truth), ("paled", paled(truth))):
                    for case in cases(arguments.mark, size, arguments.frames, rng):
                        frames = laid(pictures, size, case.runs)
                        encode(path, frames, size, case.crf, "superfast", case.keys)
                        doubt, scout = scouted(path, config, warm)
                        row = {
                            "source": source.name,
                            "size": kind,
                            "ground": ground,
                            "mark": case.stay,
                            "width": case.runs[0].box.width if case.runs else 0,
                            "crf": case.crf,
                            "keys": case.keys,
                            "clean": doubt is None,
                            "reason": doubt,
                            "looks": scout.looks,
                            "searched": scout.searched,
                        }
                        if doubt is None and case.runs:
                            row["full"] = await found_in_full(path, config)
                        rows.append(row)
                        print(json.dumps(row), flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By how long the mark stays: clips, those called clean, those of them that a search finds."""
    table = {}
    for stay in (*STAYS, CLEAN):
        own = [row for row in rows if row["mark"] == stay]
        clean = [row for row in own if row["clean"]]
        table[stay] = {
            "clips": len(own),
            "called_clean": len(clean),
            "of_which_a_search_finds_the_mark": sum(bool(row.get("full")) for row in clean),
            "with_pictures_searched": sum(bool(row["searched"]) for row in own),
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--mark", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = asyncio.run(measured(arguments))
    found = {"frames": arguments.frames, "seed": arguments.seed, "by_stay": summary(rows)}
    print(json.dumps(found, indent=1))
    if arguments.output:
        noted = [row for row in rows if row["clean"] and row["mark"] != CLEAN]
        arguments.output.write_text(json.dumps(found | {"missed": noted}, indent=1) + "\n")


if __name__ == "__main__":
    main()
