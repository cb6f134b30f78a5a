"""How a detector is judged: where a composed mark lies, which boxes hit it, and what is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import evaluate
import numpy as np
import pytest
from evaluate import Scene, Score, composed, draw_wrong, iou, mattes, measure, overlay, tracked
from numpy.typing import NDArray

from sorawm_pipeline.vision.detector import Detection
from tests.clips import Clip

Pixels = NDArray[np.uint8]
TRUTH = (20.0, 10.0, 60.0, 30.0)
OFF = (100.0, 10.0, 140.0, 30.0)
HALF = (20.0, 10.0, 40.0, 30.0)
MATTE = np.full((10, 20), 200, np.uint8)


class Finds:
    """A detector that sees, in inputs of half the size, what it is told to; and counts."""

    weights_sha256 = "0" * 64
    image_size = 64

    def __init__(self, tell: Callable[[Pixels], list[tuple[float, evaluate.Box]]]) -> None:
        self.tell = tell
        self.frames = 0

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        return width // 2, height // 2

    def detect(self, images: Pixels) -> list[list[Detection]]:
        self.frames += len(images)
        return [
            [
                Detection((box[0] / 2, box[1] / 2, box[2] / 2, box[3] / 2), sure)
                for sure, box in self.tell(image)
            ]
            for image in images
        ]


def grey(value: int, width: int = 160, height: int = 90) -> Pixels:
    return np.full((height, width, 3), value, np.uint8)


def photo(folder: Path, name: str, value: int) -> Path:
    path = folder / f"{name}.png"
    assert cv2.imwrite(str(path), grey(value))
    return path


def test_iou_is_shared_over_joined_area() -> None:
    assert iou(TRUTH, TRUTH) == 1
    assert iou(TRUTH, OFF) == 0
    assert iou(TRUTH, HALF) == iou(HALF, TRUTH) == 0.5
    assert iou((0, 0, 10, 10), (5, 5, 15, 15)) == pytest.approx(25 / 175)


def test_figures_count_hits_surplus_boxes_and_marked_clean_frames_from_the_threshold_on() -> None:
    score = Score(
        clean=[0.0, 0.3, 0.6, 0.9],
        marked=[
            [(0.9, 0.8), (0.7, 0.1), (0.6, 0.5)],  # two hits and a box beside them
            [(0.4, 0.9)],  # a hit that is less sure
            [(0.9, 0.49)],  # not on the mark: a miss, and a surplus box
            [],
        ],
        invisible=2,
    )
    sure = score.figures(0.5)
    assert sure["recall_at_0.5"] == 0.25
    assert sure["mean_iou"] == 0.8
    assert sure["surplus_boxes_per_marked_frame"] == 0.5
    assert sure["clean_frames_marked"] == 0.5
    assert (sure["marked_frames"], sure["clean_frames"], sure["invisible_left_out"]) == (4, 4, 2)
    assert score.figures(0.4)["recall_at_0.5"] == 0.5
    assert score.figures(0.3)["clean_frames_marked"] == 0.75
    assert score.figures(0.95)["mean_iou"] == 0


def test_scores_add_up() -> None:
    total = Score()
    for level in (0.5, 0.5, 0.7):
        total += Score([0.2], [[(0.9, 1.0)], []], 1, Counter({level: 3}))
    assert total == Score([0.2] * 3, [[(0.9, 1.0)], []] * 3, 3, Counter({0.5: 6, 0.7: 3}))


@pytest.mark.parametrize(
    ("at", "expected"),
    [((10, 20), (20, 40, 60, 60)), ((130, 70), (260, 140, 300, 160))],
)
def test_a_mark_is_scaled_with_the_short_side_and_keeps_its_distance_to_the_nearer_side(
    at: tuple[int, int], expected: evaluate.Box
) -> None:
    """160 x 90 to 320 x 180: everything doubles, from the left or from the right."""
    picture = grey(50, 320, 180)
    shown, box = overlay(picture, (MATTE, at, (160, 90)))
    assert box == expected
    x0, y0, x1, y1 = (int(v) for v in expected)
    assert (shown[y0:y1, x0:x1] == int(50 * 55 / 255 + 200)).all()
    shown[y0:y1, x0:x1] = 50
    assert (shown == picture).all()
    assert (picture == 50).all(), "the clean picture is still needed"


def test_in_a_wider_picture_a_mark_keeps_its_distance_to_its_side() -> None:
    _, left = overlay(grey(50, 300, 90), (MATTE, (10, 20), (160, 90)))
    _, right = overlay(grey(50, 300, 90), (MATTE, (130, 20), (160, 90)))
    assert left == (10, 20, 30, 30)
    assert right == (270, 20, 290, 30)


def test_white_over_white_has_no_box() -> None:
    assert overlay(grey(254), (MATTE, (10, 20), (160, 90)))[1] is None
    assert overlay(grey(200), (MATTE, (10, 20), (160, 90)))[1] is not None


def test_a_scene_has_bars_and_a_box_that_counts_from_the_whole_picture(tmp_path: Path) -> None:
    placed = (MATTE, (10, 20), (160, 90))
    scene = composed(photo(tmp_path, "dark", 40), "320x180:160x180", [placed, None])
    assert scene.name == "dark-320x180_160x180"
    assert [frame.shape for frame in scene.clean + scene.marked] == [(180, 320, 3)] * 4
    for frame in scene.clean + scene.marked:
        assert not frame[:, :80].any()
        assert not frame[:, 240:].any()
    box, nothing = scene.truth
    assert box is not None
    assert nothing is None
    assert scene.hidden == [False, False]
    rows, columns = np.nonzero((scene.marked[0] != scene.clean[0]).any(axis=2))
    assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert box[0] >= 80
    assert (scene.marked[1] == scene.clean[1]).all()


def test_a_mark_that_nobody_can_see_is_hidden_not_absent(tmp_path: Path) -> None:
    placed = (MATTE, (10, 20), (160, 90))
    scene = composed(photo(tmp_path, "white", 255), "160x90", [placed, None])
    assert scene.truth == [None, None]
    assert scene.hidden == [True, False]


def test_mattes_are_cut_out_of_every_so_many_th_frame(tmp_path: Path) -> None:
    def draw(index: int) -> Pixels:
        picture = np.zeros((64, 96, 3), np.uint8)
        picture[20:30, 40:60] = 255 * (index != 2)
        return picture

    found = mattes(Clip(frames=5, draw=draw).write(tmp_path / "mark.mp4"), 2)
    assert [one is None for one in found] == [False, True, False]
    assert found[0] is not None
    patch, at, size = found[0]
    assert (at, size) == ((38, 18), (96, 64))
    assert patch.shape == (14, 24)


def scene_of(truth: Sequence[evaluate.Box | None], hidden: Sequence[bool] = ()) -> Scene:
    """The frames that are marked are bright, the others dark."""
    marked = [grey(200 if box else 20) for box in truth]
    return Scene(
        "s", [grey(20)] * len(truth), marked, list(truth), [*hidden] or [False] * len(truth)
    )


def test_frames_are_matched_with_their_own_truth_and_hidden_marks_count_as_neither() -> None:
    detector: Any = Finds(
        lambda image: [(0.8, TRUTH), (0.4, OFF)] if image.mean() > 100 else [(0.3, OFF)]
    )
    scene = scene_of([TRUTH, None, None, OFF], [False, True, False, False])
    score = measure({"a": detector}, scene, 20, "BILINEAR")["a"]
    assert detector.frames == 8
    assert score.invisible == 1
    assert score.marked == [[(0.8, 1.0), (0.4, 0.0)], [(0.8, 0.0), (0.4, 1.0)]]
    assert score.clean == [0.3] * 5


def decoded(frames: int) -> list[av.VideoFrame]:
    return [av.VideoFrame.from_ndarray(grey(90), "rgb24").reformat(format="yuv420p")] * frames


def test_tracks_fill_gaps_and_drop_outliers_at_each_level() -> None:
    sightings: list[list[tuple[float, evaluate.Box]]] = [[(0.65, TRUTH)] for _ in range(12)]
    sightings[5] = []
    sightings[8].append((0.9, OFF))
    looks: Counter[float] = Counter()
    told = tracked(sightings, decoded(12), 5, 1, looks)
    assert told == [[(0.5, TRUTH), (0.6, TRUTH)]] * 12, "0.65 is not believed from 0.7 on"
    assert looks == {0.5: 12, 0.6: 12, 0.7: 12}


def test_tracks_look_at_few_frames_if_asked_to() -> None:
    looks: Counter[float] = Counter()
    tracked([[] for _ in range(33)], decoded(33), 5, 16, looks)
    assert looks == {0.5: 5, 0.6: 5, 0.7: 5}


@pytest.mark.parametrize(
    ("box", "found", "drawn"),
    [
        (TRUTH, [TRUTH], False),
        (TRUTH, [], True),
        (TRUTH, [TRUTH, OFF], True),
        (None, [], False),
        (None, [OFF], True),
    ],
)
def test_only_what_went_wrong_is_drawn(
    box: evaluate.Box | None, found: list[evaluate.Box], drawn: bool, tmp_path: Path
) -> None:
    draw_wrong(grey(20), box, found, tmp_path / "wrong.jpg")
    assert (tmp_path / "wrong.jpg").exists() is drawn


def test_the_result_counts_by_source_size_and_confidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector sees the mark over one source, unsurely, and something on the other."""

    def tell(image: Pixels) -> list[tuple[float, evaluate.Box]]:
        height, width = image.shape[:2]
        base = int(image[height // 2, width // 2, 0])
        if base > 60:
            return [(0.9, (0.0, 0.0, 8.0, 8.0))]
        rows, columns = np.nonzero(image[..., 0] > base + 60)
        if not rows.size:
            return []
        x0, y0, x1, y1 = (
            2.0 * v for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        )
        return [(0.55, (x0, y0, x1, y1))]

    def draw(index: int) -> Pixels:
        picture = np.zeros((90, 160, 3), np.uint8)
        picture[8:24, 10:50] = 200 * (index != 1)
        return picture

    mark = Clip(frames=3, draw=draw).write(tmp_path / "mark.mp4")
    dark, light = photo(tmp_path, "dark", 30), photo(tmp_path, "light", 90)
    output = tmp_path / "result.json"
    words = ["--mark", mark, "--output", output, "--sizes", "160x90,320x180", "--step", 1]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, words), str(dark), str(light)])
    monkeypatch.setattr(evaluate, "find_weights", lambda _: SimpleNamespace(confidence=0.5))
    monkeypatch.setattr(evaluate, "Detector", lambda *_, **__: Finds(tell))
    evaluate.main()

    result = json.loads(output.read_text())
    # Two sizes of two sources: two of three frames are marked; each is there without the mark too.
    assert (result["total"]["marked_frames"], result["total"]["clean_frames"]) == (8, 16)
    assert result["confidence"] == 0.5
    assert result["total"]["recall_at_0.5"] == 0.5
    by_source = result["by_source"]
    assert by_source["dark.png"]["recall_at_0.5"] == 1
    assert by_source["dark.png"]["clean_frames_marked"] == 0
    assert by_source["light.png"]["recall_at_0.5"] == 0
    assert by_source["light.png"]["clean_frames_marked"] == 1
    assert {name: figures["marked_frames"] for name, figures in result["by_size"].items()} == {
        "160x90": 4,
        "320x180": 4,
    }
    assert [figures["recall_at_0.5"] for figures in result["by_confidence"].values()] == (
        [0.5] * 5 + [0.0] * 2
    )
