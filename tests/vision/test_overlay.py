from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.vision.overlay import Overlay, Region
from tests.vision.textures import rough

WHOLE = Box(0, 0, 80, 48)
LEFT, RIGHT = np.s_[16:32, 10:26], np.s_[14:34, 44:70]


def shown(scene: int, *parts: tuple[slice, slice]) -> NDArray[np.uint8]:
    """A soft scene with white plates in front of it."""
    picture = rough(WHOLE.height, WHOLE.width, (12, 20), scene) * 0.3 + 60
    for part in parts:
        picture[part] = 235
    return picture.clip(0, 255).astype(np.uint8)


@given(st.integers(0, 20), st.booleans(), st.booleans())
def test_the_level_of_a_part_tells_whether_it_is_there(scene: int, left: bool, right: bool) -> None:
    region = Region(WHOLE, 1, 8)
    overlay = Overlay(region, region.edges(shown(99, LEFT, RIGHT)))
    assert len(overlay.parts) == 2
    there = [part for part, wanted in ((LEFT, left), (RIGHT, right)) if wanted]
    levels = overlay.levels(region.edges(shown(scene, *there)))
    by_place = sorted(zip((part.box.x0 for part in overlay.parts), levels, strict=True))
    for (_, level), wanted in zip(by_place, (left, right), strict=True):
        assert level > 0.8 if wanted else level < 0.2


@given(st.integers(0, 20))
def test_levels_are_averages_weighed_by_strength(scene: int) -> None:
    region = Region(WHOLE, 1, 8)
    overlay = Overlay(region, region.edges(shown(99, LEFT, RIGHT)))
    edges = region.edges(shown(scene, LEFT))
    weight = (overlay.mean**2).sum(0)
    share = np.clip((edges * overlay.mean).sum(0) / np.maximum(weight, 1e-6), -1.0, 1.5)
    for part, level in zip(overlay.parts, overlay.levels(edges), strict=True):
        average = float(np.average(share[part.where], weights=weight[part.where]))
        assert level >= average - 1e-3  # a part that hopped is looked for beside
        if not 0.1 < average < 0.75:
            assert abs(level - average) < 1e-3
