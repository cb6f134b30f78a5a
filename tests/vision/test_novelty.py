"""Sudden local change: what hides it, and what must not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.vision.novelty import CUT, Novelty

Luma = NDArray[np.uint8]
NOISE = np.random.default_rng(3).integers(20, 160, (80, 120)).astype(np.uint8)


def shown(frames: int, picture: Callable[[int], Luma]) -> Novelty:
    novelty = Novelty(8)
    for index in range(frames):
        novelty.push(index, picture(index))
    return novelty


def test_what_changes_beside_a_known_mark_is_found_although_the_mark_changes_more() -> None:
    def picture(index: int) -> Luma:
        grey = np.full((80, 120), 60, np.uint8)
        grey[10:20, 10:40] += np.uint8(150 * (index >= 4))
        grey[50:60, 70:100] += np.uint8(60 * (index >= 4))
        return grey

    known, other = Box(10, 10, 40, 20), Box(70, 50, 100, 60)
    (strongest,) = shown(8, picture).take(7, [])
    assert strongest.box.intersection(known).area > 0
    (found,) = shown(8, picture).take(7, [known])
    assert found.frame == 4
    assert found.box.intersection(other).area > 0
    assert shown(8, picture).take(7, [known, other]) == []


def test_a_scene_that_always_moves_by_much_is_not_all_cuts_and_hides_no_mark() -> None:
    def picture(index: int) -> Luma:
        grey = np.roll(NOISE, 3 * index, axis=1)
        grey[40:60, 30:90] = np.where(index >= 5, 255, grey[40:60, 30:90])
        return grey

    first, second = (picture(index).astype(int) for index in (1, 2))
    assert np.median(np.abs(second - first)) >= CUT
    found = shown(10, picture).take(9, [])
    assert not any(surprise.cut for surprise in found)
    assert found[0].frame == 5
    assert found[0].box.intersection(Box(30, 40, 90, 60)).area > 0


def test_a_cut_is_one_in_a_still_scene_and_in_one_that_moves() -> None:
    for speed in (0, 3):
        scenes = (NOISE, NOISE[::-1, ::-1])

        def picture(index: int, speed: int = speed, scenes: tuple[Luma, ...] = scenes) -> Luma:
            smooth = np.kron(scenes[index >= 6][::20, ::20], np.ones((20, 20), np.uint8))
            return np.roll(smooth, speed * index, axis=1)

        found = shown(12, picture).take(11, [])
        assert [surprise.frame for surprise in found if surprise.cut] == [6]
