from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.media.frame import Box, Patch

sides = st.integers(-50, 250)
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    sides,
    sides,
    st.integers(0, 120),
    st.integers(0, 120),
)


@given(boxes, boxes)
def test_iou_is_symmetric_and_between_0_and_1(a: Box, b: Box) -> None:
    assert a.iou(b) == b.iou(a)
    assert 0.0 <= a.iou(b) <= 1.0


@given(boxes, boxes)
def test_iou_counts_pixels(a: Box, b: Box) -> None:
    def pixels(box: Box) -> set[tuple[int, int]]:
        return {(x, y) for x in range(box.x0, box.x1, 7) for y in range(box.y0, box.y1, 7)}

    if a == b and a.area:
        assert a.iou(b) == 1.0
    if not pixels(a) & pixels(b) and a.intersection(b).area == 0:
        assert a.iou(b) == 0.0


@given(boxes)
def test_clipping_stays_inside_and_keeps_what_is_inside(box: Box) -> None:
    cut = box.clipped(100, 80)
    assert 0 <= cut.x0 <= cut.x1 <= 100
    assert 0 <= cut.y0 <= cut.y1 <= 80
    assert cut.area == box.intersection(Box(0, 0, 100, 80)).area


@given(boxes, st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]))
def test_alignment_grows_by_less_than_a_step(box: Box, step_x: int, step_y: int) -> None:
    grid = box.aligned(step_x, step_y)
    assert grid.x0 % step_x == grid.x1 % step_x == grid.y0 % step_y == grid.y1 % step_y == 0
    assert grid.union(box) == grid
    assert grid.width < box.width + 2 * step_x
    assert grid.height < box.height + 2 * step_y


def test_a_patch_refuses_an_alpha_of_another_shape() -> None:
    with pytest.raises(ValueError, match="same shape"):
        Patch(
            Box(0, 0, 4, 4),
            (np.zeros((4, 4), np.uint8),),
            (np.zeros((4, 5), np.uint16),),
        )
