"""`SoraWaterMarkDetector` with the built-in network."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from sorawm_pipeline.compat import Sighting, SoraWaterMarkDetector
from sorawm_pipeline.vision.detector import Detection
from tests.vision.test_detector import Box, draw_mark, iou, scene

NOTHING: Sighting = {"detected": False, "bbox": None, "confidence": 0.0, "center": None}


@pytest.fixture(scope="module")
def detector() -> SoraWaterMarkDetector:
    return SoraWaterMarkDetector()


def marked(width: int, height: int, seed: int = 1) -> tuple[np.ndarray, Box]:
    picture = scene(width, height, seed)
    truth = draw_mark(picture, width // 2, height // 3, round(0.21 * min(width, height)))
    return picture, truth


def check(seen: Sighting, truth: Box) -> None:
    assert seen["detected"] is True
    assert seen["bbox"] is not None
    assert seen["center"] is not None
    assert all(type(edge) is int for edge in seen["bbox"] + seen["center"])
    x0, y0, x1, y1 = seen["bbox"]
    assert iou((x0, y0, x1, y1), truth) > 0.7
    assert seen["center"] == ((x0 + x1) // 2, (y0 + y1) // 2)
    assert 0.4 < seen["confidence"] <= 1


@pytest.mark.parametrize("size", [(704, 1280), (1280, 704), (640, 360)])
def test_finds_a_mark_in_pixels_of_the_picture(
    detector: SoraWaterMarkDetector, size: tuple[int, int]
) -> None:
    picture, truth = marked(*size)
    check(detector.detect(picture, frame_idx=7), truth)


def test_no_mark_no_box(detector: SoraWaterMarkDetector) -> None:
    assert detector.detect(scene(704, 1280)) == NOTHING


def test_channels_are_blue_green_red(
    detector: SoraWaterMarkDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def look(images: np.ndarray) -> list[list[Detection]]:
        seen.append(images)
        return [[]]

    detector.detect(scene(640, 352))
    assert detector._loaded is not None
    monkeypatch.setattr(detector._loaded[0], "detect", look)
    picture = np.zeros((352, 640, 3), np.uint8)
    picture[..., 0] = 200
    detector.detect(picture)
    assert seen[0][0, 0, 0].tolist() == [0, 0, 200]


def test_a_batch_of_any_sizes_is_as_one_by_one(detector: SoraWaterMarkDetector) -> None:
    pictures = [marked(640, 360, seed)[0] for seed in range(6)]
    pictures.insert(2, scene(640, 360))
    pictures += [marked(704, 1280)[0], marked(640, 360, 9)[0]]
    together = detector.detect_batch(pictures, start_frame_idx=100)
    alone = [detector.detect(picture) for picture in pictures]
    assert [seen["detected"] for seen in together] == [True, True, False, *[True] * 6]
    for one, other in zip(together, alone, strict=True):
        assert one["bbox"] == pytest.approx(other["bbox"], abs=1)
        assert one["center"] == pytest.approx(other["center"], abs=1)
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-3)
    assert detector.detect_batch([]) == []


def test_threads_take_turns(detector: SoraWaterMarkDetector) -> None:
    pictures = [marked(640, 360, seed)[0] for seed in range(8)]
    expected = [detector.detect(picture)["bbox"] for picture in pictures]
    with ThreadPoolExecutor(4) as threads:
        assert [s["bbox"] for s in threads.map(detector.detect, pictures)] == expected


def test_a_view_of_a_larger_array_is_a_picture_too(detector: SoraWaterMarkDetector) -> None:
    picture, truth = marked(640, 360)
    wide = cv2.copyMakeBorder(picture, 0, 0, 0, 40, cv2.BORDER_CONSTANT)
    check(detector.detect(wide[:, :640]), truth)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        None,
    ],
)
def test_what_is_no_picture_is_named(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"BGR \(h, w, 3\), got"):
        SoraWaterMarkDetector().detect(wrong)
