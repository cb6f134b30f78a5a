"""Peak memory of a long clip beside that of a short one of the same size.

    python bench/memory.py [--size 704x1280] [--depth 10] [--rate 30] [--frames 300 3000] [--seed]
        [--profile quality] [--output memory.json]

Half an hour is `--size 256x144 --frames 300 54000`, ten hours of a slow camera
`--size 256x144 --rate 1 --frames 300 36000`.

Each clip is cleaned by a process of its own, so that a peak belongs to one clip alone. `idle` is a
process that has cleaned a clip of a few small frames, and so has all models loaded. With --seed the
program that this one replaces is given the longest clip: it decodes all of it, and looks at and
fills one frame, after which its memory grows no more.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sorawm_pipeline.config import PROFILES
from sorawm_pipeline.demo import MARK_HEIGHT, MARK_WIDTH, blend, draw_mark
from sorawm_pipeline.media.frame import Box


def mark_size(width: int, height: int) -> tuple[int, int]:
    """Of a mark as large as the real one is in such a picture, at least as the demo's is."""
    wide = max(MARK_WIDTH, 156 * min(width, height) // 704)
    return wide, round(wide * MARK_HEIGHT / MARK_WIDTH)


def write_clip(
    path: Path, width: int, height: int, frames: int, depth: int = 8, rate: int = 30
) -> None:
    """A drifting gradient and a turning mark, H.264 of 8 or 10 bits at `rate` per second."""
    y, x = np.mgrid[0:height, 0:width]
    scene = np.stack([x * 200 // width, y * 200 // height, (x + y) % 200], axis=-1).astype(np.uint8)
    size = mark_size(width, height)
    marks = [
        cv2.resize(draw_mark(turn), size, interpolation=cv2.INTER_CUBIC)
        for turn in np.linspace(0, 2 * np.pi, 30, endpoint=False)
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=rate, options={"preset": "ultrafast", "crf": "23"}
        )
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p10le" if depth == 10 else "yuv420p"
        for index in range(frames):
            picture = np.roll(scene, 2 * index, axis=1)
            place = Box(24, 40, 24 + size[0], 40 + size[1])
            blend(picture, marks[index % len(marks)], place)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


SEED = """
import resource, sys
from pathlib import Path
from seed_program import decoded, lama, yolo11s
from sorawm_pipeline.media.frame import Box
look, fill = yolo11s(), lama()
frames, _ = decoded(Path(sys.argv[1]), None)
look(frames[0])
wide, high = map(int, sys.argv[2:])
frames[0] = fill(frames[0], Box(24, 40, 24 + wide, 40 + high))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def seed_peak(clip: Path, mark: tuple[int, int]) -> int:
    """Bytes that the seed's program takes for a clip with a mark of that size."""
    told = subprocess.run(
        [sys.executable, "-c", SEED, str(clip), *map(str, mark)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return int(told.stdout.split()[-1])


def clean(folder: Path, clip: Path, profile: str) -> dict[str, object]:
    yaml, report = folder / "pipeline.yaml", folder / f"{clip.stem}.json"
    yaml.write_text("")
    words = [yaml, clip, "--output", folder / "out", "--report", report, "--progress", "none"]
    words += ["--profile", profile, "--overwrite"]
    command = [sys.executable, "-m", "sorawm_pipeline", "run", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result: dict[str, object] = json.loads(report.read_text())["clips"][0]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="704x1280")
    parser.add_argument("--depth", type=int, choices=(8, 10), default=8)
    parser.add_argument("--rate", type=int, default=30, help="frames per second")
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--seed", action="store_true")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--profile", choices=PROFILES, default="balanced")
    arguments = parser.parse_args()
    profile: str = arguments.profile
    width, height = map(int, arguments.size.split("x"))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / "idle.mp4", 256, 256, 30)
        idle = int(str(clean(folder, folder / "idle.mp4", profile)["peak_rss_bytes"]))
        print(f"idle, models loaded: {idle >> 20} MiB")
        for frames in arguments.frames:
            clip = folder / f"{frames}.mp4"
            write_clip(clip, width, height, frames, arguments.depth, arguments.rate)
            report = clean(folder, clip, profile)
            rows.append(
                {
                    "frames": frames,
                    "peak_rss_bytes": report["peak_rss_bytes"],
                    "above_idle_bytes": int(str(report["peak_rss_bytes"])) - idle,
                    "live_frames": report["live_frames"],
                    "fps": report["fps"],
                }
            )
            print(rows[-1], flush=True)
        seed = seed_peak(clip, mark_size(width, height)) if arguments.seed else None
    first, last = (int(str(rows[i]["peak_rss_bytes"])) for i in (0, -1))
    print(f"peak of the longest over that of the shortest: {last / first:.3f}")
    if seed is not None:
        print(f"the seed's program: {seed >> 20} MiB; ours is {last / seed:.3f} of it")
    if arguments.output is not None:
        found = {
            "machine": platform.platform(),
            "size": arguments.size,
            "depth": arguments.depth,
            "rate": arguments.rate,
            "profile": profile,
            "idle_rss_bytes": idle,
            "clips": rows,
            "seed_rss_bytes": seed,
        }
        arguments.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
