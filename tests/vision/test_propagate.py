from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.vision.alignment import standing
from sorawm_pipeline.vision.propagate import (
    BLIND,
    COMMON,
    KNOWN,
    Sight,
    View,
    carried,
    combined,
    expected,
    moved,
    updated,
)
from sorawm_pipeline.vision.ring import Floats, Ring
from tests.vision.textures import rough

HEIGHT, WIDTH = 96, 128
MARK = np.s_[36:60, 40:88]
NO_CHROMA = np.zeros((1, 1, 0), np.float32)


def texture(seed: int = 0) -> Floats:
    """A scene larger than a view of it."""
    return rough(200, 260, (6, 15, 40), seed)


def view(scene: Floats, x: float, y: float) -> Floats:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(scene, matrix, (WIDTH, HEIGHT), flags=flags), np.float32)


def seen(luma: Floats, chroma: Floats, variance: Floats) -> View:
    return View(luma, chroma, variance, Ring(variance <= KNOWN))


def sight(truth: Floats, *, marked: bool, error: float = 25.0, seed: int = 0) -> View:
    """The truth; where a mark is, off by noise of which the variance tells."""
    luma, variance = truth.copy(), np.full(truth.shape, KNOWN, np.float32)
    if marked:
        noise = np.random.default_rng(seed).normal(0, error, luma[MARK].shape)
        luma[MARK] += noise.astype(np.float32)
        variance[MARK] = error**2
    return seen(luma, NO_CHROMA, variance)


def filtered(sights: list[View]) -> Sight:
    """The last sight after all before it were carried along."""
    estimate: Sight = sights[0]
    best, way = estimate, standing()
    for here in sights[1:]:
        way = moved(here, estimate, way)
        prior = expected(estimate, way, here)
        estimate, best = updated(prior, here), combined(here, [prior])
    return best


def error_under_the_mark(estimate: Sight, truth: Floats) -> float:
    return float(np.abs(estimate.luma - truth)[MARK].mean())


def test_what_was_free_before_stays_known_while_the_scene_stands() -> None:
    truth = view(texture(), 30, 30)
    sights = [sight(truth, marked=number > 0, seed=number) for number in range(20)]
    assert error_under_the_mark(filtered(sights), truth) < 1
    assert error_under_the_mark(sights[-1], truth) > 15


@pytest.mark.parametrize("speed", [(2.0, 0.0), (0.7, 1.3), (-3.4, 0.5)])
def test_what_moves_under_the_mark_is_carried_along(speed: tuple[float, float]) -> None:
    scene = texture()
    truths = [view(scene, 60 + speed[0] * t, 50 + speed[1] * t) for t in range(10)]
    sights = [sight(truth, marked=t > 0, seed=t) for t, truth in enumerate(truths)]
    assert error_under_the_mark(filtered(sights), truths[-1]) < 4


def test_nothing_crosses_a_cut() -> None:
    truth = view(texture(5), 40, 40)
    sights = [sight(view(texture(1), 30, 30), marked=False) for _ in range(3)]
    sights.append(sight(truth, marked=True, error=10))
    best = filtered(sights)
    own = error_under_the_mark(sights[-1], truth)
    assert error_under_the_mark(best, truth) < 1.2 * own
    assert error_under_the_mark(sights[0], truth) > 3 * own


def test_fills_that_err_alike_are_not_taken_for_knowledge() -> None:
    truth = view(texture(), 30, 30)
    fill = sight(truth, marked=True)
    estimate: Sight = fill
    for _ in range(50):
        estimate = updated(estimate, fill)
    assert (estimate.variance[MARK] >= 0.999 * COMMON * fill.variance[MARK]).all()


@settings(max_examples=40, deadline=None)
@given(
    own=st.floats(KNOWN, 900),
    other=st.floats(KNOWN, 900),
    luma=st.floats(0, 255),
    there=st.floats(0, 255),
)
def test_a_combination_lies_between_and_nearer_to_the_surer(
    own: float, other: float, luma: float, there: float
) -> None:
    def flat(level: float, variance: float) -> Sight:
        full = np.full((4, 6), 1, np.float32)
        chroma = np.full((2, 3, 2), level, np.float32)
        return Sight(full * np.float32(level), chroma, full * np.float32(variance))

    best = combined(flat(luma, own), [flat(there, other)])
    low, high = min(luma, there), max(luma, there)
    assert (best.luma >= low - 0.01).all()
    assert (best.luma <= high + 0.01).all()
    assert best.variance.max() <= min(own, other) * 1.0001
    near, far = (luma, there) if own < other else (there, luma)
    for plane in (best.luma, best.chroma):
        assert (np.abs(plane - near) <= np.abs(plane - far) + 0.01).all()


def test_what_comes_in_from_beyond_the_region_is_not_known() -> None:
    scene = texture()
    one, two = (sight(view(scene, 50, y), marked=False) for y in (40, 52))
    way = moved(two, one, standing())
    assert way[1, 2] == pytest.approx(12, abs=0.1)
    found = carried(one, way)
    assert (found.variance[-11:] >= BLIND).all()
    assert (found.variance[:-13, 2:-2] < 1).all()


def test_what_comes_in_from_beyond_the_region_is_no_evidence_against_the_rest() -> None:
    scene = texture()
    truths = [view(scene, 50, 40 + 12 * t) for t in range(6)]
    sights = [sight(truth, marked=True, error=15, seed=t) for t, truth in enumerate(truths)]
    # The mark is 24 pixels high: what is under it now came in from below, free.
    assert error_under_the_mark(filtered(sights), truths[-1]) < 2


def test_colour_moves_as_brightness_does() -> None:
    scene = texture()
    luma = view(scene, 60, 50)
    chroma = np.stack(
        [cv2.resize(luma, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)] * 2, 2
    )
    there = Sight(luma, chroma, np.full(luma.shape, KNOWN, np.float32))
    way = np.array([[1.0, 0, 6.0], [0, 1, -4.0]])
    found = carried(there, way)
    small = cv2.resize(found.luma, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    assert np.abs(found.chroma - small[..., None])[8:-8, 8:-8].mean() < 1


def test_a_fill_that_stays_wrong_wears_away_what_is_known_only_slowly() -> None:
    def flat(level: float, variance: float) -> View:
        plane = np.full((4, 6), level, np.float32)
        return seen(plane, NO_CHROMA, np.full((4, 6), variance, np.float32))

    estimate: Sight
    estimate, wrong = flat(100, KNOWN), flat(200, 300)
    for _ in range(30):
        drifted = Sight(estimate.luma, NO_CHROMA, estimate.variance + np.float32(0.3))
        estimate = updated(drifted, wrong)
    assert (np.abs(estimate.luma - 100) < 12).all()
