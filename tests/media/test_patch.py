from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.frame import Box, Patch, Plane
from sorawm_pipeline.media.patch import OPAQUE, chroma_alpha, cut, paste
from sorawm_pipeline.media.planes import PLANAR_TWIN, PixelLayout, layout_of, plane_view

PLANAR = [
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "yuv411p",
    "yuv410p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p12le",
    "yuva420p",
    "gray",
    "gray10le",
    "gbrp",
    "gbrp10le",
    "gbrap",
]


def picture(name: str, width: int = 50, height: int = 38, seed: int = 0) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, name)
    random = np.random.default_rng(seed)
    for plane in frame.planes:
        depth = layout_of(name).depth
        kind = np.uint8 if depth == 8 else np.uint16
        samples = np.frombuffer(memoryview(plane), kind)
        samples[:] = random.integers(0, 1 << depth, samples.size)
    return frame


def samples(frame: av.VideoFrame, layout: PixelLayout) -> list[Plane]:
    return [plane_view(frame, index, layout).copy() for index in range(len(frame.planes))]


@pytest.mark.parametrize("name", PLANAR)
def test_views_have_the_planes_sizes(name: str) -> None:
    layout = layout_of(name)
    frame = picture(name)
    for index, plane in enumerate(frame.planes):
        view = plane_view(frame, index, layout)
        assert view.shape == (plane.height, plane.width)
        assert view.dtype == layout.dtype


@pytest.mark.parametrize("name", ["nv12", "rgb24", "pal8", "yuyv422", "grayf32le", "gbrpf32le"])
def test_what_is_not_plain_planes_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        layout_of(name)
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("packed", sorted(PLANAR_TWIN))
def test_planar_twins_are_planar(packed: str) -> None:
    assert layout_of(PLANAR_TWIN[packed]).colour_planes in (1, 3)


@pytest.mark.parametrize("name", PLANAR)
@settings(max_examples=15, deadline=None)
@given(x=st.integers(0, 44), y=st.integers(0, 34), w=st.integers(1, 30), h=st.integers(1, 30))
def test_only_samples_with_alpha_change(name: str, x: int, y: int, w: int, h: int) -> None:
    layout = layout_of(name)
    frame = picture(name)
    before = samples(frame, layout)
    box = Box(x, y, x + w, y + h).aligned(layout.step_x, layout.step_y).clipped(50, 38)
    region = cut(frame, box, layout)
    alpha = np.zeros((box.height, box.width), np.uint16)
    alpha[1:, 1:] = OPAQUE // 2
    alpha[2:, 2:] = OPAQUE
    fills = tuple(plane ^ np.ones_like(plane) for plane in region)
    patch = Patch(box, fills, chroma_alpha(alpha, layout))

    paste(frame, [patch], layout)

    for index, (old, new) in enumerate(zip(before, samples(frame, layout), strict=True)):
        if index >= layout.colour_planes:
            assert np.array_equal(old, new), "an alpha plane is not picture"
            continue
        area = layout.plane_box(patch.box, index)
        outside = np.ones(old.shape, bool)
        outside[area.y0 : area.y1, area.x0 : area.x1] = patch.alpha[index] == 0
        assert np.array_equal(old[outside], new[outside])
        inside = np.zeros(old.shape, bool)
        inside[area.y0 : area.y1, area.x0 : area.x1] = patch.alpha[index] == OPAQUE
        assert np.array_equal(old[inside] ^ np.ones_like(old[inside]), new[inside])


def test_the_softest_edge_moves_samples_by_half() -> None:
    layout = layout_of("gray")
    frame = picture("gray")
    plane_view(frame, 0, layout)[:] = 100
    alpha = np.full((4, 4), OPAQUE // 2, np.uint16)
    paste(frame, [Patch(Box(0, 0, 4, 4), (np.full((4, 4), 200, np.uint8),), (alpha,))], layout)
    assert set(np.unique(plane_view(frame, 0, layout)[:4, :4])) == {150}


def test_a_chroma_sample_takes_the_largest_alpha_it_covers() -> None:
    alpha = np.zeros((5, 5), np.uint16)
    alpha[0, 1], alpha[4, 4] = 256, 7
    _, chroma, again = chroma_alpha(alpha, layout_of("yuv420p"))
    assert chroma.shape == (3, 3)
    assert chroma[0, 0] == 256
    assert chroma[2, 2] == 7
    assert chroma.sum() == 263
    assert again is chroma


def test_no_patches_change_nothing() -> None:
    layout = layout_of("yuv420p")
    frame = picture("yuv420p")
    before = samples(frame, layout)
    paste(frame, [], layout)
    assert all(np.array_equal(a, b) for a, b in zip(before, samples(frame, layout), strict=True))
