from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.vision.alignment import (
    Movement,
    farthest,
    inverse,
    joined,
    movement,
    standing,
)
from sorawm_pipeline.vision.ring import Floats, Ring
from tests.vision.textures import rough

HEIGHT, WIDTH = 100, 140
MARK = np.s_[35:65, 40:100]
KNOWN = np.ones((HEIGHT, WIDTH), np.bool_)
KNOWN[MARK] = False
RING = Ring(KNOWN)


def texture(seed: int = 0) -> Floats:
    return rough(HEIGHT, WIDTH, (5, 12, 30), seed)


def led_back(there: Floats, way: Movement) -> Floats:
    """What is seen where a movement to `there` begins."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(there, way, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def apart(one: Movement, other: Movement) -> float:
    """The longest way in pixels between where two movements lead."""
    return farthest(one - other + standing(), HEIGHT, WIDTH)


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-4, 4),
    y=st.floats(-4, 4),
    turn=st.floats(-0.02, 0.02),
    zoom=st.floats(-0.02, 0.02),
)
def test_a_movement_is_found_whatever_stands_still_under_the_mark(
    x: float, y: float, turn: float, zoom: float
) -> None:
    way = np.array([[1 + zoom, turn, x], [-turn, 1 + zoom, y]])
    there = texture()
    here = led_back(there, way)
    here[MARK] = there[MARK] = texture(9)[MARK]
    assert apart(movement(here, there, RING, standing()), way) < 0.5


def test_a_part_that_moves_otherwise_counts_little() -> None:
    way = np.array([[1.0, 0, 2.5], [0, 1, 0]])
    there = texture()
    here = led_back(there, way)
    here[:, 110:] = there[:, 110:]  # a fifth of the ring stands still
    found = movement(here, there, RING, standing())
    assert np.abs(found[:, 2] - way[:, 2]).max() < 0.08


@pytest.mark.parametrize("last", [9.0, 21.0])
def test_among_lines_that_repeat_the_last_movement_decides(last: float) -> None:
    rows = np.tile(np.repeat([30.0, 220.0], 6), 20)[:HEIGHT].astype(np.float32)
    there = cv2.GaussianBlur(np.repeat(rows[:, None], WIDTH, 1), (0, 0), 1.5)
    here = np.roll(there, -9, 0)
    here[-9:] = there[3:12]
    before = np.array([[1.0, 0, 0], [0, 1, last]])
    found = movement(here, there, RING, before)
    assert found[1, 2] == pytest.approx(last, abs=0.3)


def test_a_fast_movement_needs_no_hint() -> None:
    way = np.array([[1.0, 0, -14.0], [0, 1, 3.0]])
    there = texture(3)
    assert apart(movement(led_back(there, way), there, RING, standing()), way) < 0.5


@pytest.mark.parametrize("known", [np.zeros_like(KNOWN), np.pad(np.ones((12, 12), np.bool_), 40)])
def test_what_is_hardly_seen_stands(known: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> None:
    known = known[:HEIGHT, :WIDTH]
    known = np.pad(known, [(0, HEIGHT - known.shape[0]), (0, WIDTH - known.shape[1])])
    there = texture()
    here = led_back(there, np.array([[1.0, 0, 3], [0, 1, 0]]))
    assert (movement(here, there, Ring(known), standing()) == standing()).all()


def test_there_and_back_again_is_no_movement() -> None:
    way = np.array([[1.02, 0.01, 5.0], [-0.01, 0.98, -7.0]])
    assert np.allclose(joined(way, inverse(way)), standing())
    assert farthest(way, HEIGHT, WIDTH) > 5
    assert farthest(standing(), HEIGHT, WIDTH) == 0
