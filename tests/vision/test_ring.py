from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sorawm_pipeline.vision.ring import ALIKE, FAR, SAMPLED, SAMPLES, Bools, Ring

places = hnp.arrays(np.bool_, st.tuples(st.integers(3, 40), st.integers(3, 40)))


@given(places)
def test_its_pixels_are_told_row_by_row(known: Bools) -> None:
    ring = Ring(known)
    values = np.arange(known.size).reshape(known.shape)
    assert (values[ring.mask == 255] == values[known]).all()
    assert (ring.alike == np.where(known, 1, ALIKE)).all()
    some = slice(None, None, SAMPLED)
    assert (values.take(ring.some) == values[some, some][known[some, some]]).all()
    assert ring.size == known.sum()


@given(places)
def test_samples_have_all_their_neighbours_in_it(known: Bools) -> None:
    ring = Ring(known)
    high, wide = known.shape
    at = ring.at[0]
    for x, y in at.astype(int):
        near = known[max(0, y - 1) : min(high, y + 2), max(0, x - 1) : min(wide, x + 2)]
        assert near.all()
    assert (at[:, 1] * wide + at[:, 0] == ring.samples).all()


def test_samples_are_about_as_many_as_wanted_and_spread() -> None:
    known = np.ones((100, 200), np.bool_)
    known[30:70, 50:150] = False
    ring = Ring(known)
    assert SAMPLES <= ring.at.shape[1] < 1.1 * SAMPLES
    assert (ring.at[0].min(0) < 15).all()
    assert (ring.at[0].max(0) > (185, 85)).all()
    assert np.abs(ring.terms[1:]).max() <= 0.5


@given(places)
def test_a_neighbourhood_holds_a_share_of_it(known: Bools) -> None:
    near = Ring(known).near
    assert near.min() >= np.float32(FAR)
    assert near.max() <= 1.001 + FAR
