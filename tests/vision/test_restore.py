from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.media.frame import Box, Plane
from sorawm_pipeline.media.patch import OPAQUE
from sorawm_pipeline.media.planes import layout_of, rounded_like
from sorawm_pipeline.vision.restore import CONTEXT, Hole, Region, plain_inpainter

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


def fill(method: str, hole: Hole, planes: tuple[Plane, ...]) -> tuple[Plane, ...]:
    inpainter = plain_inpainter(method)
    assert inpainter is not None
    (patch,) = inpainter.fill([Region(0, hole, planes)])
    assert patch.box == hole.box
    return patch.planes


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
    for filled, truth, mask in zip(fill(method, hole, dirty), clean, hole.masks, strict=True):
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
    filled = fill("membrane", hole, clean)
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
    filled = fill("membrane", hole, tuple(dirty))
    for new, old, alpha in zip(filled, clean, hole.alpha, strict=True):
        error = np.abs(new.astype(int) - old.astype(int))[alpha > 0]
        assert error.max() / (1 << (layout.depth - 8)) < 12


def test_none_leaves_the_picture_alone() -> None:
    assert plain_inpainter("none") is None
    with pytest.raises(KeyError):
        plain_inpainter("magic")


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
