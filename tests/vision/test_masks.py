from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Mark
from sorawm_pipeline.vision.masks import Masks
from tests.vision.test_sampling import PLACES, film, overlay, scene

PLACE = PLACES[1]
Luma = NDArray[np.uint8] | NDArray[np.uint16]


def learnt(lumas: Sequence[Luma], mark: Box = PLACE, depth: int = 8) -> Masks:
    masks = Masks(depth)
    for index, luma in enumerate(lumas):
        masks.see(index, luma, [Mark(mark, 0.9)])
    return masks


def share(masks: Masks, mark: Box = PLACE) -> tuple[float, float]:
    """How much of the overlay the mask covers, and how much of the rest."""
    mask = masks.tell(Mark(mark, 0.9))
    assert mask is not None
    covered = np.zeros((200, 300), bool)
    rows, columns = slice(mask.box.y0, mask.box.y1), slice(mask.box.x0, mask.box.x1)
    covered[rows, columns] = mask.pixels > 0
    inside = covered[PLACE.y0 : PLACE.y1, PLACE.x0 : PLACE.x1]
    glyphs = overlay() > 0
    return float(inside[glyphs].mean()), float(inside[~glyphs].mean())


def test_over_a_moving_scene_the_mask_is_the_overlay() -> None:
    covered, surplus = share(learnt(film([[PLACE]] * 160, speed=5)))
    assert covered > 0.99
    assert surplus < 0.6


def test_over_a_smooth_scene_one_picture_is_enough() -> None:
    luma = np.full((128, 192), 60, np.float32)
    under = luma[PLACE.y0 : PLACE.y1, PLACE.x0 : PLACE.x1]
    under += (255 - under) * overlay()
    covered, surplus = share(learnt([luma.astype(np.uint8)]))
    assert covered > 0.99
    assert surplus < 0.2


def test_ten_bits_tell_the_same() -> None:
    deep = [luma.astype(np.uint16) * 4 for luma in film([[PLACE]] * 160, speed=5)]
    assert share(learnt(deep, depth=10)) == share(learnt(film([[PLACE]] * 160, speed=5)))


def test_over_a_still_and_busy_scene_the_box_counts() -> None:
    masks = learnt(film([[PLACE]] * 40, speed=0))
    assert masks.tell(Mark(PLACE, 0.9)) is None


def test_a_place_without_an_overlay_has_no_mask() -> None:
    lumas = [scene(index, 3, 1).astype(np.uint8) for index in range(40)]
    assert learnt(lumas).tell(Mark(PLACE, 0.9)) is None


def test_a_part_of_a_mark_and_a_mark_elsewhere_have_no_mask() -> None:
    masks = learnt(film([[PLACE]] * 160, speed=5))
    assert masks.tell(Mark(Box(PLACE.x0, PLACE.y0, PLACE.x0 + 20, PLACE.y1), 0.9)) is None
    assert masks.tell(Mark(PLACES[0], 0.9)) is None


def test_a_run_keeps_one_mask_while_little_is_learnt() -> None:
    lumas = film([[PLACE]] * 160, speed=5)
    masks = learnt(lumas[:140])
    first = masks.tell(Mark(PLACE, 0.9))
    masks.see(140, lumas[140], [Mark(PLACE, 0.9)])
    assert masks.tell(Mark(PLACE, 0.9)) is first
