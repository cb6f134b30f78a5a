from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, cli
from sorawm_pipeline.config import RegionConfig
from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.frame import Box, Mark
from sorawm_pipeline.vision.regions import Regions
from tests.clips import Clip, rgb, scene

MakeClip = Callable[[str, Clip], Path]
PLAIN = Display(96, 64)
TICK = Fraction(1, 25)


def known(*regions: RegionConfig, display: Display = PLAIN) -> Regions:
    return Regions(regions, display, TICK)


def test_a_box_is_there_from_its_first_second_to_before_its_last() -> None:
    regions = known(RegionConfig(box=(8, 4, 40, 20), from_s=0.4, to_s=0.8))
    marked = [i for i in range(30) if regions.added(i, 1000 + i, [])]
    assert marked == list(range(10, 20))
    (mark,) = regions.added(30, 1010, [])
    assert (mark.box, mark.given, mark.confidence) == (Box(8, 4, 40, 20), True, 1.0)


def test_boxes_are_in_displayed_pixels() -> None:
    turned = Display(96, 64, transpose=True, flip_x=True)
    (mark,) = known(RegionConfig(box=(0, 0, 16, 24)), display=turned).added(0, 0, [])
    assert turned.to_shown(mark.box).as_tuple() == (0, 0, 16, 24)
    assert mark.box == Box(0, 48, 24, 64)


def test_a_region_takes_the_place_of_what_was_found_in_it() -> None:
    regions = known(RegionConfig(box=(8, 4, 40, 20)))
    elsewhere = Mark(Box(60, 40, 80, 50), 0.9)
    marks = regions.added(0, 0, [Mark(Box(9, 5, 39, 19), 0.9), elsewhere])
    assert [mark.box for mark in marks] == [elsewhere.box, Box(8, 4, 40, 20)]


def test_what_was_left_widens_the_mark_in_its_place() -> None:
    left = {3: [Mark(Box(10, 5, 46, 22), 0.5), Mark(Box(60, 40, 80, 50), 0.7)]}
    regions = Regions((), PLAIN, TICK, left)
    found = [Mark(Box(8, 4, 40, 20), 0.9)]
    assert regions.added(2, 2, list(found)) == found
    assert {m.box for m in regions.added(3, 3, list(found))} == {
        Box(8, 4, 46, 22),
        Box(60, 40, 80, 50),
    }


def test_each_piece_of_a_mask_is_a_mark(tmp_path: Path) -> None:
    picture = np.zeros((64, 96), np.uint8)
    picture[4:20, 8:40] = 255
    cv2.circle(picture, (70, 40), 8, 255, -1)
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    marks = known(RegionConfig(mask=tmp_path / "mask.png")).added(0, 0, [])
    assert [mark.box for mark in marks] == [Box(8, 4, 40, 20), Box(62, 32, 79, 49)]
    assert marks[1].mask is not None
    assert 0 < (marks[1].mask.pixels > 0).mean() < 0.9


def test_a_mask_is_turned_as_the_picture_is_shown(tmp_path: Path) -> None:
    picture = np.zeros((96, 64), np.uint8)
    picture[0:24, 0:16] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    turned = Display(96, 64, transpose=True, flip_x=True)
    (mark,) = known(RegionConfig(mask=tmp_path / "mask.png"), display=turned).added(0, 0, [])
    assert turned.to_shown(mark.box).as_tuple() == (0, 0, 16, 24)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        (b"not a picture", "is not a picture"),
        (np.zeros((64, 96), np.uint8), "covers nothing"),
        (np.full((60, 96), 255, np.uint8), "is 96x60, the picture 96x64"),
    ],
)
def test_masks_that_cannot_be_used(tmp_path: Path, content: object, said: str) -> None:
    path = tmp_path / "mask.png"
    if isinstance(content, np.ndarray):
        cv2.imwrite(str(path), content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        known(RegionConfig(mask=path))


def test_a_box_outside_the_picture() -> None:
    with pytest.raises(ConfigError, match="lies outside the picture of 96x64"):
        known(RegionConfig(box=(100, 4, 120, 20)))


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("- {}", "a region is a box or a mask"),
        ("- {box: [9, 0, 3, 4]}", "x0 < x1"),
        ("- {box: [0, 0, 3, 4], from_s: 3, to_s: 2}", "to_s comes after from_s"),
        ("- {box: [0, 0, 3]}", "detect.regions"),
        ("- {bux: [0, 0, 3, 4]}", "unknown key"),
        ("{box: [0, 0, 3, 4]}", "detect.regions"),
    ],
)
def test_wrong_regions_are_told_with_their_line(yaml: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        PipelineConfig.load_yaml(f"detect:\n  regions:\n    {yaml}\n")
    assert "pipeline.yaml:" in caught.value.message


async def test_a_region_alone_needs_no_detector(make_clip: MakeClip, tmp_path: Path) -> None:
    def stamped(index: int) -> np.ndarray:
        picture = scene(index)
        picture[40:50, 60:80] = 220
        return picture

    source = make_clip("clip.mp4", Clip(frames=40, draw=stamped))
    yaml = "detect:\n  weights: none\n  regions:\n    - {box: [60, 40, 80, 50], from_s: 0, to_s: 1}"
    config = PipelineConfig.load_yaml(yaml)
    report = await Pipeline(config).process(source, tmp_path / "out.mp4")
    assert report.detector is not None
    assert report.detector.runtime == "none"
    assert report.frames.marked == 25
    assert report.provenance is not None
    assert report.provenance.digital_source_type is None, "the user's word is no statement"
    after = rgb(tmp_path / "out.mp4")
    assert after[10][42:48, 62:78].max() < 170
    assert after[30][42:48, 62:78].min() > 190


def test_given_marks_say_so(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip(frames=3, draw=scene))
    yaml = tmp_path / "p.yaml"
    yaml.write_text("detect: {weights: none, regions: [{box: [8, 4, 40, 20]}]}\n")
    report = tmp_path / "r.json"
    assert cli.call(["detect", str(yaml), str(source), "--report", str(report)]) == 0
    frames = json.loads(report.read_text())["frames"]
    assert {mark["origin"] for frame in frames for mark in frame["marks"]} == {"given"}
