"""The real recording of the mark, end to end with the built-in detector."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from sorawm_pipeline import Pipeline, cli
from tests.clips import packets, times

pytestmark = pytest.mark.slow

BLANKS = {66, 133, 200, 267}
MARK_LEVEL = 60
CLEAN_LEVEL, FAINT_LEVEL = 64, 8.0  # brightest pixel under the mark (190 before), and their mean


def grey(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


@pytest.mark.timeout(600)
def test_the_mark_on_black_goes_away_and_nothing_else_does(media: Path, tmp_path: Path) -> None:
    source = media / "sora-mark-on-black.mp4"
    output, report_file, yaml = (
        tmp_path / "out.mp4",
        tmp_path / "report.json",
        tmp_path / "pipeline.yaml",
    )
    yaml.write_text("")
    words = ["run", str(yaml), str(source), "--output", str(output), "--report", str(report_file)]
    assert cli.call(words) == 0

    (report,) = json.loads(report_file.read_text())["clips"]
    assert report["frames"] == {"decoded": 300, "encoded": 300, "marked": 296}
    assert report["live_frames"]["peak"] <= report["live_frames"]["bound"]
    assert times(output) == times(source)
    assert packets(output, "audio") == packets(source, "audio")
    for index, (before, after) in enumerate(zip(grey(source), grey(output), strict=True)):
        marked = before > MARK_LEVEL
        assert marked.any() == (index not in BLANKS)
        if marked.any():
            assert after[marked].max() <= CLEAN_LEVEL, f"frame {index} still shows the mark"
            assert after[marked].mean() <= FAINT_LEVEL, f"frame {index} still shows the mark"
    # Every jump at its exact frame, the blank frames unmarked.
    assert [(mark["first_frame"], mark["last_frame"]) for mark in full_runs(report)] == [
        (0, 65),
        (67, 132),
        (134, 199),
        (201, 266),
        (268, 299),
    ]

    boxes = tmp_path / "boxes.json"
    assert cli.call(["detect", str(yaml), str(output), "--report", str(boxes)]) == 0
    assert not any(frame["marks"] for frame in json.loads(boxes.read_text())["frames"])


def full_runs(report: dict[str, list[dict[str, int]]]) -> list[dict[str, int]]:
    """The runs, with the icon that outlives its word counted to the run it ends."""
    joined: list[dict[str, int]] = []
    for mark in report["marks"]:
        if joined and mark["first_frame"] == joined[-1]["last_frame"] + 1:
            joined[-1] = {**joined[-1], "last_frame": mark["last_frame"]}
        else:
            joined.append(mark)
    return joined


async def test_the_real_frame_is_found(media: Path, tmp_path: Path) -> None:
    """One still, held for a second: the label was drawn by hand."""
    picture = next(av.open(str(media / "real-frame-704x1280.png")).decode(video=0))
    clip = tmp_path / "still.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 704, 1280, "yuv420p"
        for index in range(10):
            frame = picture.reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = await Pipeline().detect(clip)
    label = (30.4, 1114.9, 185.8, 1174.3)
    for marks in (frame.marks for frame in found.frames):
        assert len(marks) == 1
        assert iou(marks[0].box, label) >= 0.85


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)
