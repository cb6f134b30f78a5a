"""The demo with the real detector, and what it says of its own clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sorawm_pipeline import cli, demo
from tests.clips import packets, rgb


def test_the_mark_jumps_over_blank_frames() -> None:
    places = [demo.place_of(index) for index in range(demo.FRAMES)]
    blanks = [index for index, place in enumerate(places) if place is None]
    assert blanks == [60, 121, 182]
    assert len({place for place in places if place}) == 3


def test_the_mark_is_drawn_within_its_box_and_is_translucent() -> None:
    mark = demo.draw_mark(0.3)
    assert mark.shape == (demo.MARK_HEIGHT, demo.MARK_WIDTH, 2)
    alpha = mark[..., 1]
    assert alpha.max() <= demo.OPACITY + 1e-6
    columns = np.flatnonzero(alpha.max(axis=0) > 0.1)
    assert columns.min() <= 2
    assert columns.max() >= demo.MARK_WIDTH - 12


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_cleans_its_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    assert cli.call(["demo", "--output", str(folder)]) == 0
    said = capsys.readouterr().out
    names = ["marked.mp4", "cleaned.mp4", "before-after.png", "report.json"]
    assert all(str(folder / name) in said for name in names)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)

    (report,) = json.loads((folder / "report.json").read_text())["clips"]
    truth = [demo.place_of(index) for index in range(demo.FRAMES)]
    assert report["frames"]["marked"] == sum(place is not None for place in truth)
    assert report["provenance"]["digital_source_type"] == demo.ORIGIN
    assert report["provenance"]["signed"]
    assert packets(folder / "cleaned.mp4", "audio") == packets(folder / "marked.mp4", "audio")
    worst = 0.0
    for index, picture in enumerate(rgb(folder / "cleaned.mp4")):
        place = truth[index]
        if place is not None:
            area = np.s_[place.y0 : place.y1, place.x0 : place.x1]
            difference = picture[area].astype(float) - demo.draw_scene(index)[area]
            worst = max(worst, float((difference**2).mean()))
    psnr = 10 * np.log10(255**2 / worst)
    assert psnr > 17, "the worst frame is a blur over the meadow, not a mark"
    with Image.open(folder / "before-after.png") as shown:
        assert shown.size == (2 * demo.WIDTH + 8, demo.HEIGHT)

    assert cli.call(["demo", "--output", str(folder)]) == 1
    assert "--overwrite" in capsys.readouterr().err
