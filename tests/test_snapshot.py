"""Values to bytes and back: equal, the same objects, and nothing but what is declared."""

from __future__ import annotations

import io
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.media.frame import Box, Mark, Mask
from sorawm_pipeline.snapshot import SnapshotError, dumped, loaded

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.text(max_size=3))
BOXES = st.builds(Box, *[st.integers(-5, 5)] * 4)
VALUES = st.recursive(
    PLAIN | st.text() | st.binary(max_size=9) | st.fractions() | BOXES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(deque)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_dumped_comes_back(what: object) -> None:
    back = loaded(dumped(what))
    assert back == what
    assert type(back) is type(what)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", "float32", "bool"])
def test_arrays_keep_dtype_and_shape(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    back = loaded(dumped({"here": array, "empty": array[:0]}))
    assert np.array_equal(back["here"], array)
    assert back["here"].dtype == dtype
    assert back["empty"].shape == (0, 3, 4)


def test_one_object_stays_one() -> None:
    mask = Mask(Box(0, 0, 2, 1), np.array([[255, 0]], np.uint8))
    marks = [Mark(Box(0, 0, 2, 1), 0.5, mask=mask), Mark(Box(1, 0, 2, 1), 0.6, mask=mask)]
    one, other = loaded(dumped(marks))
    assert one.mask is other.mask
    assert np.array_equal(one.mask.pixels, mask.pixels)


def test_a_bounded_deque_stays_bounded() -> None:
    assert loaded(dumped(deque([1, 2], maxlen=2))).maxlen == 2


def test_numbers_of_numpy_become_plain() -> None:
    assert loaded(dumped([np.int64(3), np.float32(0.5), np.bool_(True)])) == [3, 0.5, True]


class Holder:
    STATE = ("_count", "inner")

    def __init__(self) -> None:
        self._count = 0
        self.inner: Holder | None = None
        self.kept = "as built"


def test_a_holder_gets_its_state_back_in_place() -> None:
    there, here = Holder(), Holder()
    there._count, there.inner = 3, Holder()
    there.inner._count = 4
    here.inner = inner = Holder()
    assert loaded(dumped(there), into=here) is here
    assert (here._count, here.inner is inner, inner._count, here.kept) == (3, True, 4, "as built")
    with pytest.raises(SnapshotError):
        loaded(dumped(there))


def test_a_class_that_is_not_declared_is_refused() -> None:
    @dataclass
    class Stranger:
        number: int

    with pytest.raises(TypeError, match="Stranger"):
        dumped([Stranger(1)])


@pytest.mark.parametrize(
    "bad", [b"", b"PK", b"PK\x03\x04" + b"x" * 40, b"nonsense", b"\x80\x04K\x01."]
)
def test_other_bytes_are_no_snapshot(bad: bytes) -> None:
    with pytest.raises(SnapshotError):
        loaded(bad)


@pytest.mark.parametrize(
    "tree",
    [
        '{"v":"os.system","p":["true"]}',
        '{"v":"frame.Box","p":[1,2,3]}',
        '{"v":"frame.Box","p":[1,2,3,4,5]}',
        '{"a":7}',
        '{"r":0}',
        '{"x":1}',
        '{"q":[1,"a"]}',
        "{}x",
    ],
)
def test_a_tree_that_does_not_fit_is_refused(tree: str) -> None:
    file = io.BytesIO()
    np.savez(file, tree=np.frombuffer(tree.encode(), np.uint8))
    with pytest.raises(SnapshotError):
        loaded(file.getvalue())


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, tree=np.array([Fraction(1)], object))
    with pytest.raises(SnapshotError, match="allow_pickle"):
        loaded(path)
