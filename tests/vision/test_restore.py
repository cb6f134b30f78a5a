from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.media.frame import Box, Patch, Plane
from sorawm_pipeline.media.patch import OPAQUE
from sorawm_pipeline.media.planes import layout_of, rounded_like
from sorawm_pipeline.vision.propagate import steadied
from sorawm_pipeline.vision.restore import CONTEXT, Hole, MembraneInpainter, inpainter_for

LAYOUTS = ["yuv420p", "yuv422p10le", "yuv444p", "gray", "gbrp"]


def ramp(hole: Hole, name: str, level: int = 60) -> tuple[Plane, ...]:
    """Planes of a smooth slope, in the middle of the format's range."""
    layout = layout_of(name)
    scale = 1 << (layout.depth - 8)
    planes = []
    for index in range(layout.colour_planes):
        area = layout.plane_box(hole.box, index)
        y, x = np.mgrid[0 : area.height, 0 : area.width]
        planes.append(((level + x * 0.3 + y * 0.2) * scale).astype(layout.dtype))
    return tuple(planes)


@pytest.mark.parametrize("method", ["membrane", "telea", "ns"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_white_mark_on_a_slope_goes_away(method: str, name: str) -> None:
    layout = layout_of(name)
    hole = Hole(Box(40, 30, 101, 61), None, (), 6, 640, 360, layout)
    clean = ramp(hole, name)
    dirty = tuple(
        rounded_like(np.where(mask > 0, (1 << layout.depth) - 1, plane), plane)
        for plane, mask in zip(clean, hole.masks, strict=True)
    )
    inpainter = inpainter_for(method)
    assert inpainter is not None
    for filled, truth, mask in zip(
        inpainter.fill(dirty, hole.masks), clean, hole.masks, strict=True
    ):
        assert filled.dtype == truth.dtype
        assert np.array_equal(filled[mask == 0], truth[mask == 0])
        error = np.abs(filled.astype(int) - truth.astype(int)) / (1 << (layout.depth - 8))
        assert error.max() < 12


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    "corner", [Box(0, 0, 30, 20), Box(600, 340, 640, 360), Box(0, 0, 640, 360)]
)
def test_a_membrane_at_the_edge_of_the_picture(name: str, corner: Box) -> None:
    layout = layout_of(name)
    hole = Hole(corner, None, (), 0, 640, 360, layout)
    clean = ramp(hole, name)
    filled = MembraneInpainter().fill(clean, hole.masks)
    for new, old, mask in zip(filled, clean, hole.masks, strict=True):
        assert np.array_equal(new[mask == 0], old[mask == 0])
        assert old.min() <= new.min() <= new.max() <= old.max()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_neighbouring_mark_does_not_bleed_into_the_fill(name: str) -> None:
    layout = layout_of(name)
    mark, other = Box(40, 30, 101, 61), Box(40, 65, 101, 81)
    hole = Hole(mark, None, (other,), 2, 640, 360, layout)
    plain = Hole(mark, None, (), 2, 640, 360, layout)
    clean = ramp(hole, name)
    dirty = []
    for index, plane in enumerate(clean):
        both = [layout.plane_box(box.grown(1), index) for box in (mark, other)]
        origin = layout.plane_box(hole.box, index)
        marked = plane.copy()
        for area in both:
            rows = slice(area.y0 - origin.y0, area.y1 - origin.y0)
            marked[rows, area.x0 - origin.x0 : area.x1 - origin.x0] = (1 << layout.depth) - 1
        dirty.append(marked)
    assert all(np.array_equal(a, b) for a, b in zip(hole.alpha, plain.alpha, strict=True))
    filled = MembraneInpainter().fill(tuple(dirty), hole.masks)
    for new, old, alpha in zip(filled, clean, hole.alpha, strict=True):
        error = np.abs(new.astype(int) - old.astype(int))[alpha > 0]
        assert error.max() / (1 << (layout.depth - 8)) < 12


def test_none_leaves_the_picture_alone() -> None:
    assert inpainter_for("none") is None
    with pytest.raises(KeyError):
        inpainter_for("magic")


@settings(max_examples=60, deadline=None)
@given(
    x=st.integers(-20, 630),
    y=st.integers(-20, 350),
    margin=st.integers(0, 12),
    name=st.sampled_from(LAYOUTS),
)
def test_a_hole_covers_its_mark_anywhere_in_the_picture(
    x: int, y: int, margin: int, name: str
) -> None:
    layout = layout_of(name)
    mark = Box(x, y, x + 60, y + 20).clipped(639, 359)
    if not mark.area:
        return
    hole = Hole(mark, None, (), margin, 639, 359, layout)
    box = hole.box
    assert box == box.clipped(639, 359)
    assert box.x0 % layout.step_x == box.y0 % layout.step_y == 0
    alpha = hole.alpha[0]
    inside = alpha[mark.y0 - box.y0 : mark.y1 - box.y0, mark.x0 - box.x0 : mark.x1 - box.x0]
    assert (inside == OPAQUE).all()
    for plane_alpha, mask in zip(hole.alpha, hole.masks, strict=True):
        assert ((mask > 0) == (plane_alpha > 0)).all()
    left = mark.x0 - margin - box.x0
    if left == CONTEXT:
        assert (alpha[:, 0] == 0).all(), "the outer ring is context, not fill"
    edge = np.diff(alpha.astype(int), axis=1)
    assert np.abs(edge).max() <= OPAQUE / 2, "the edge is soft"


HERE = Box(0, 0, 32, 24)


def patch(value: int, ring: int, box: Box = HERE) -> Patch:
    alpha = np.zeros((24, 32), np.uint16)
    alpha[8:16, 8:24] = OPAQUE
    plane = np.where(alpha > 0, value, ring).astype(np.uint8)
    return Patch(box, (plane,), (alpha,))


def test_fills_of_a_still_scene_are_averaged() -> None:
    steady = steadied(patch(100, 50), [patch(110, 50), patch(90, 50), patch(140, 50)], 8)
    assert steady.planes[0][12, 12] == 110
    assert steady.planes[0][0, 0] == 50


def test_fills_across_a_cut_and_elsewhere_do_not_count() -> None:
    here = patch(100, 50)
    others = [patch(200, 90), patch(200, 50, Box(32, 0, 64, 24))]
    assert steadied(here, others, 8) is here


def test_the_ring_stays_this_frames_own() -> None:
    steady = steadied(patch(100, 50), [patch(120, 51)], 8)
    assert steady.planes[0][0, 0] == 50
    assert 108 <= steady.planes[0][12, 12] <= 110


def test_ten_bit_samples_are_measured_in_eight_bit_steps() -> None:
    def deep(value: int, ring: int) -> Patch:
        small = patch(value, ring)
        plane = small.planes[0].astype(np.uint16) * 4
        return Patch(small.box, (plane,), small.alpha)

    assert steadied(deep(100, 50), [deep(120, 51)], 10).planes[0][12, 12] // 4 in (108, 109, 110)
