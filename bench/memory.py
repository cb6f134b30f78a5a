"""Peak memory of a long clip beside that of a short one of the same size.

    python bench/memory.py [--size 704x1280] [--frames 300 3000] [--output memory.json]

Each clip is cleaned by a process of its own, so that a peak belongs to one clip alone.
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
import numpy as np

from sorawm_pipeline.demo import MARK_HEIGHT, MARK_WIDTH, blend, draw_mark
from sorawm_pipeline.media.frame import Box


def write_clip(path: Path, width: int, height: int, frames: int) -> None:
    """A drifting gradient with noise and a turning mark, H.264 at 30 frames per second."""
    y, x = np.mgrid[0:height, 0:width]
    scene = np.stack([x * 200 // width, y * 200 // height, (x + y) % 200], axis=-1).astype(np.uint8)
    marks = [draw_mark(turn) for turn in np.linspace(0, 2 * np.pi, 30, endpoint=False)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=30, options={"preset": "ultrafast", "crf": "23"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = np.roll(scene, 2 * index, axis=1)
            place = Box(24, 40, 24 + MARK_WIDTH, 40 + MARK_HEIGHT)
            blend(picture, marks[index % len(marks)], place)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def clean(folder: Path, clip: Path) -> dict[str, object]:
    yaml, report = folder / "pipeline.yaml", folder / f"{clip.stem}.json"
    yaml.write_text("")
    words = [yaml, clip, "--output", folder / "out", "--report", report, "--progress", "none"]
    command = [sys.executable, "-m", "sorawm_pipeline", "run", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result: dict[str, object] = json.loads(report.read_text())["clips"][0]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="704x1280")
    parser.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for frames in arguments.frames:
            clip = folder / f"{frames}.mp4"
            write_clip(clip, width, height, frames)
            report = clean(folder, clip)
            rows.append(
                {
                    "frames": frames,
                    "peak_rss_bytes": report["peak_rss_bytes"],
                    "live_frames": report["live_frames"],
                    "fps": report["fps"],
                }
            )
            print(rows[-1], flush=True)
    first, last = (int(str(rows[i]["peak_rss_bytes"])) for i in (0, -1))
    print(f"peak of the longest over that of the shortest: {last / first:.3f}")
    if arguments.output is not None:
        found = {"machine": platform.platform(), "size": arguments.size, "clips": rows}
        arguments.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
