"""`WaterMarkCleaner` with the built-in networks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sorawm_pipeline.compat import WaterMarkCleaner, stills
from sorawm_pipeline.media.frame import Box, Patch
from sorawm_pipeline.vision.see_through import Networks
from tests.vision.test_detector import draw_mark, scene

Picture = NDArray[np.uint8]
CLEANER = WaterMarkCleaner()


def smooth(width: int = 320, height: int = 200) -> Picture:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + x * 0.3, 180 - y * 0.4, 90 + (x + y) * 0.1], axis=-1).astype(np.uint8)


def textured(width: int = 320, height: int = 200) -> Picture:
    random = np.random.default_rng(3)
    picture = scene(width, height).astype(np.float32)
    fine = random.uniform(-50, 50, (height // 4, width // 4, 3)).astype(np.float32)
    picture += cv2.resize(fine, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(picture.clip(0, 255), np.uint8)


def with_mark(picture: Picture, x: int, y: int, width: int = 110) -> tuple[Picture, Picture]:
    """A copy with a mark, and its mask: its box and a few pixels around."""
    marked, mask = picture.copy(), np.zeros(picture.shape[:2], np.uint8)
    x0, y0, x1, y1 = (int(edge) for edge in draw_mark(marked, x, y, width))
    mask[y0 - 4 : y1 + 4, x0 - 4 : x1 + 4] = 255
    return marked, mask


def psnr(one: Picture, other: Picture, mask: Picture) -> float:
    off = (one.astype(np.float64) - other)[mask > 0]
    return float(10 * np.log10(255**2 / max(1e-6, (off**2).mean())))


def test_only_masked_pixels_change_and_a_smooth_ground_comes_back() -> None:
    truth = smooth()
    marked, mask = with_mark(truth, 100, 80)
    before = marked.copy()
    cleaned = CLEANER.clean(marked, mask)
    assert cleaned.dtype == np.uint8
    assert np.array_equal(marked, before), "the input is left alone"
    assert np.array_equal(cleaned[mask == 0], marked[mask == 0])
    assert psnr(marked, truth, mask) < 20
    assert psnr(cleaned, truth, mask) > 40


def test_a_translucent_mark_over_texture_is_seen_through(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = textured()
    marked, mask = with_mark(truth, 100, 80)
    through = psnr(CLEANER.clean(marked, mask), truth, mask)
    monkeypatch.setattr(stills, "painting_error", lambda place, hole: 0.0)
    painted = psnr(CLEANER.clean(marked, mask), truth, mask)
    assert through > psnr(marked, truth, mask) + 8
    assert through > painted + 3


def test_a_mask_wider_than_its_mark_is_fitted_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = textured()
    marked, mask = with_mark(truth, 100, 80)
    wide = cv2.dilate(mask, np.ones((49, 49), np.uint8))
    fitted = psnr(CLEANER.clean(marked, wide), truth, wide)
    monkeypatch.setattr(stills, "PASSES", 1)
    assert fitted > psnr(CLEANER.clean(marked, wide), truth, wide) + 3


def test_an_opaque_disc_is_painted_over(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = scene(320, 200)
    marked, mask = truth.copy(), np.zeros((200, 320), np.uint8)
    cv2.circle(marked, (160, 100), 20, (20, 20, 220), -1)
    cv2.circle(mask, (160, 100), 23, 255, -1)
    painted = psnr(CLEANER.clean(marked, mask), truth, mask)
    monkeypatch.setattr(stills, "painting_error", lambda place, hole: float("inf"))
    assert painted > psnr(CLEANER.clean(marked, mask), truth, mask) + 3


def test_several_marks_and_the_letters_of_one() -> None:
    truth = smooth()
    one, first = with_mark(truth, 20, 20, 90)
    both, second = with_mark(one, 200, 150, 90)
    mask = first | second
    cleaned = CLEANER.clean(both, mask)
    assert psnr(cleaned, truth, first) > 38
    assert psnr(cleaned, truth, second) > 38
    assert len(list(stills.places(both, mask > 0, cleaned))) == 2
    letters = np.zeros_like(mask)
    letters[80:100, 100:200:20] = letters[80:100, 101:201:20] = 255
    assert len(list(stills.places(both, letters > 0, cleaned))) == 1


def test_a_mark_beside_another_is_not_taken_for_what_painting_errs() -> None:
    one, first = with_mark(smooth(), 20, 80, 90)
    both, second = with_mark(one, 160, 80, 90)
    places = list(stills.places(both, (first | second) > 0, both.copy()))
    assert len(places) == 2
    for place in places:
        assert stills.painting_error(place, place.hole(place.mask.box, place.mask, 0)) < 5


def test_what_the_networks_leave_alone_is_painted_over(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = smooth()
    marked, mask = with_mark(truth, 100, 80)
    see_through = stills._seen_through

    def blind(place: stills.Place, networks: Networks) -> Patch:
        patch = see_through(place, networks)
        return replace(patch, alpha=tuple(np.zeros_like(alpha) for alpha in patch.alpha))

    monkeypatch.setattr(stills, "_seen_through", blind)
    assert psnr(CLEANER.clean(marked, mask), truth, mask) > 40


@pytest.mark.parametrize("covered", [1, 255, True])
def test_masks_of_ones_or_of_255(covered: int) -> None:
    marked, mask = with_mark(smooth(), 100, 80)
    kind = bool if covered is True else np.uint8
    other = np.where(mask > 0, covered, 0).astype(kind)
    assert np.array_equal(CLEANER.clean(marked, other), CLEANER.clean(marked, mask))


def test_an_empty_mask_gives_a_copy_and_loads_nothing() -> None:
    cleaner, picture = WaterMarkCleaner(), smooth()
    cleaned = cleaner.clean(picture, np.zeros((200, 320), np.uint8))
    assert np.array_equal(cleaned, picture)
    assert not np.shares_memory(cleaned, picture)
    assert cleaner._loaded is None


def test_a_batch_is_as_one_by_one() -> None:
    pairs = [with_mark(smooth(), 100, 80), with_mark(textured(), 30, 40), with_mark(smooth(), 9, 9)]
    pairs.append((smooth(97, 65), np.zeros((65, 97), np.uint8)))
    images, masks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    together = CLEANER.clean_batch(images, masks)
    alone = [CLEANER.clean(image, mask) for image, mask in pairs]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))
    assert CLEANER.clean_batch([], []) == []


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(st.tuples(*[st.integers(0, 40)] * 4), min_size=1, max_size=3),
)
@settings(max_examples=40)
def test_any_mask_on_any_picture(
    width: int, height: int, boxes: list[tuple[int, int, int, int]]
) -> None:
    random = np.random.default_rng(width * 41 + height)
    picture = random.integers(0, 256, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    for x0, y0, across, down in boxes:
        mask[y0 : y0 + down + 1, x0 : x0 + across + 1] = 255
    cleaned = CLEANER.clean(picture, mask)
    assert cleaned.shape == picture.shape
    assert np.array_equal(cleaned[mask == 0], picture[mask == 0])


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(20, 30\).*\(200, 320, 3\)"):
        CLEANER.clean(smooth(), np.zeros((20, 30), np.uint8))
    with pytest.raises(ValueError, match=r"BGR \(h, w, 3\), got"):
        CLEANER.clean(smooth()[..., 0], np.zeros((200, 320), np.uint8))
    with pytest.raises(ValueError, match="1 pictures but 0 masks"):
        CLEANER.clean_batch([smooth()], [])


def test_networks_get_green_blue_red() -> None:
    picture = np.full((4, 4, 3), (10, 20, 30), np.uint8)  # blue, green, red
    planes = stills.planes_of(picture, Box(1, 1, 3, 3))
    assert [int(plane.mean()) for plane in planes] == [20, 10, 30]
    assert stills.LAYOUT.rgb


def test_a_patch_that_changes_nothing_fits_its_whole_box() -> None:
    picture, mask = textured(), np.zeros((200, 320), np.uint8)
    mask[80:120, 100:200] = 255
    (place,) = stills.places(picture, mask > 0, picture.copy())
    hole = place.hole(place.mask.box, None, 0)
    region = place.region(hole)
    assert stills._changed_most(region, hole.patch(region.planes), hole.mark) == hole.mark
