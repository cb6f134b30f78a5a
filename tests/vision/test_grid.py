from __future__ import annotations

import numpy as np
import pytest

from sorawm_pipeline.media.frame import Box, Plane
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.vision.grid import from_grid, from_rgb, luma_of, to_grid, to_rgb

LAYOUTS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "gray",
    "gbrp",
    "yuv420p10le",
    "yuv444p12le",
    "gbrp10le",
]


def smooth(name: str, height: int, width: int) -> tuple[Plane, ...]:
    layout = layout_of(name)
    scale = 1 << (layout.depth - 8)
    planes = []
    for index in range(layout.colour_planes):
        area = layout.plane_box(Box(0, 0, width, height), index)
        y, x = np.mgrid[0 : area.height, 0 : area.width]
        slope = (width / area.width, height / area.height)
        level = 90 + 20 * index + 0.4 * x * slope[0] + 0.3 * y * slope[1]
        planes.append((level * scale).astype(layout.dtype))
    return tuple(planes)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("size", [(40, 64), (41, 63)])
def test_what_goes_to_the_grid_comes_back(name: str, size: tuple[int, int]) -> None:
    layout = layout_of(name)
    planes = smooth(name, *size)
    grid = to_grid(planes, layout)
    assert grid.shape == (6, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert 0 <= grid.min() <= grid.max() <= 1
    for index, (new, old) in enumerate(zip(from_grid(grid, planes, layout), planes, strict=True)):
        assert new.dtype == old.dtype
        error = np.abs(new.astype(int) - old.astype(int)) / (1 << (layout.depth - 8))
        exact = name.startswith(("yuv420", "gray")) or (index == 0 and not layout.rgb)
        assert error.max() <= (0 if exact else 2)


def test_the_grid_holds_the_samples_of_a_block_row_by_row() -> None:
    luma = np.arange(16, dtype=np.uint8).reshape(4, 4)
    chroma = np.full((2, 2), 128, np.uint8)
    grid = to_grid((luma, chroma, chroma), layout_of("yuv420p"))
    assert np.rint(grid[:4, 0, 1] * 255).tolist() == [2, 3, 6, 7]
    assert np.array_equal(np.rint(luma_of(grid, luma.shape) * 255), luma)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_goes_to_rgb_comes_back(name: str) -> None:
    layout = layout_of(name)
    planes = smooth(name, 41, 63)
    for new, old in zip(from_rgb(to_rgb(planes, layout), planes, layout), planes, strict=True):
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        error = np.abs(new.astype(int) - old.astype(int)) / (1 << (layout.depth - 8))
        assert error.max() <= 2
