"""Many doubtful sightings of one place: when together they leave no doubt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Mark
from sorawm_pipeline.vision.repeats import ENOUGH, FORGET, LASTING, Repeats

PLACE = Box(40, 40, 100, 60)
BELIEVE = 0.7
Luma = NDArray[np.uint8]
LETTERS = np.kron(np.random.default_rng(3).random((16, 24)), np.ones((8, 8))) * 200


def moving(index: int) -> Luma:
    return np.roll(LETTERS, 11 * index, axis=1).astype(np.uint8)


def still(index: int) -> Luma:
    del index
    return LETTERS.astype(np.uint8)


def sure(
    places: list[Box | None], luma: Callable[[int], Luma] = moving, confidence: float = 0.4
) -> list[float]:
    """The confidence of each frame's sighting, 0 where there is none."""
    repeats = Repeats(8, BELIEVE / 2, BELIEVE)
    judged = [
        repeats.judged(index, luma(index), [Mark(box, confidence)] if box else [])
        for index, box in enumerate(places)
    ]
    return [marks[0].confidence if marks else 0.0 for marks in judged]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_place_is_believed_once_seen_long_and_over_enough_pictures(
    there: list[bool],
) -> None:
    count, first, last, expected = 0, 0, -FORGET - 1, []
    for index, seen in enumerate(there):
        if not seen:
            expected.append(0.0)
            continue
        if index - last > FORGET:
            count, first = 0, index
        count, last = count + 1, index
        believed = count >= ENOUGH and index - first >= LASTING
        expected.append(BELIEVE if believed else 0.4)
    assert sure([PLACE if seen else None for seen in there]) == expected


def test_over_a_picture_that_stands_still_more_looks_tell_nothing() -> None:
    assert sure([PLACE] * 40, still) == [0.4] * 40


def test_a_passer_by_before_a_still_picture_tells_nothing_either() -> None:
    def passed(index: int) -> Luma:
        picture = still(index).copy()
        picture[:, 3 * index : 3 * index + 40] = 128
        return picture

    assert sure([PLACE] * 40, passed) == [0.4] * 40


def test_what_moves_with_the_scene_is_not_one_place() -> None:
    wandering = [Box(40 + 11 * i, 40, 100 + 11 * i, 60) for i in range(8)]
    assert sure([*wandering]) == [0.4] * 8


def test_what_is_hardly_seen_does_not_count() -> None:
    assert sure([PLACE] * 40, confidence=0.2) == [0.2] * 40


def test_a_sure_sighting_keeps_its_confidence() -> None:
    assert sure([PLACE] * 9, confidence=0.9) == [0.9] * 9


def test_places_are_forgotten() -> None:
    repeats = Repeats(8, BELIEVE / 2, BELIEVE)
    for index in range(300):
        x = 17 * index % 120
        repeats.judged(index, moving(index), [Mark(Box(x, 20, x + 40, 32), 0.4)])
        assert len(repeats._places) <= FORGET + 1


def test_a_few_frames_in_a_row_are_not_enough() -> None:
    assert sure([PLACE] * 5) == [0.4] * 5
