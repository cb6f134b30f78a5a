from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.frame import Box

ONE = 1 << 16
ORIENTATIONS = [
    (ONE, 0, 0, ONE),
    (-ONE, 0, 0, -ONE),
    (ONE, 0, 0, -ONE),
    (-ONE, 0, 0, ONE),
    (0, ONE, -ONE, 0),
    (0, -ONE, ONE, 0),
    (0, ONE, ONE, 0),
    (0, -ONE, -ONE, 0),
]


def display(matrix: tuple[int, int, int, int], width: int, height: int) -> Display:
    a, b, c, d = matrix
    packed = struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return Display.from_matrix(width, height, packed, Fraction(1))


@given(st.sampled_from(ORIENTATIONS), st.integers(0, 30), st.integers(0, 20), st.integers(1, 10))
def test_a_box_and_the_pixels_under_it_turn_together(
    matrix: tuple[int, int, int, int], x: int, y: int, size: int
) -> None:
    shown = display(matrix, 40, 30)
    box = Box(x, y, x + size, y + size)
    stored = np.zeros((30, 40, 1), np.uint8)
    stored[box.y0 : box.y1, box.x0 : box.x1] = 1

    upright = shown.upright(stored)
    assert upright.shape[:2] == (shown.shown_height, shown.shown_width)
    ys, xs, _ = np.nonzero(upright)
    seen = Box(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)

    assert shown.to_shown(box) == seen
    back = shown.to_stored(seen.as_tuple(), (shown.shown_width, shown.shown_height))
    assert back == pytest.approx(box.as_tuple())


def test_a_quarter_turn_to_the_left_brings_the_right_edge_to_the_top() -> None:
    shown = display((0, -ONE, ONE, 0), 40, 30)
    assert (shown.shown_width, shown.shown_height) == (30, 40)
    assert shown.to_shown(Box(39, 0, 40, 1)) == Box(0, 0, 1, 1)


def test_sample_aspect_stretches_what_is_shown() -> None:
    shown = Display.from_matrix(1440, 1080, None, Fraction(4, 3))
    assert (shown.shown_width, shown.shown_height) == (1920, 1080)
    assert shown.to_shown(Box(720, 0, 1440, 1080)) == Box(960, 0, 1920, 1080)


@pytest.mark.parametrize("matrix", [None, b"", b"\0" * 36, b"short"])
def test_a_matrix_that_says_nothing_is_upright(matrix: bytes | None) -> None:
    assert Display.from_matrix(8, 6, matrix, Fraction(1)) == Display(8, 6)


def test_a_slanted_matrix_counts_as_upright() -> None:
    assert display((ONE, ONE // 2, -ONE // 2, ONE), 8, 6) == Display(8, 6)
