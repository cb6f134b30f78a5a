"""Units of H.264 and HEVC: split, joined, renumbered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.media import parameter_sets as sets
from sorawm_pipeline.media.parameter_sets import Numbers, Unfit

BODIES = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=40).map(bytes)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.sampled_from([2, 4]))
def test_lengths_are_read_as_they_are_written(units: list[bytes], size: int) -> None:
    assert sets.split(sets.join(units, size), size) == units


@given(BODIES)
def test_escaped_units_hold_no_start_code_and_come_back(raw: bytes) -> None:
    escaped = sets._escaped(raw)
    assert b"\0\0\0" not in escaped
    assert b"\0\0\1" not in escaped
    assert b"\0\0\2" not in escaped
    assert sets._unescaped(escaped) == raw


@given(st.binary(min_size=3, max_size=80), st.integers(15, 30), st.sampled_from([1, 19, 20, 21]))
def test_a_slice_moves_by_one_byte_and_nothing_else_changes(
    tail: bytes, number: int, kind: int
) -> None:
    flags = 2 if 16 <= kind <= 23 else 1
    first = (1 << 7 | 1 << 7 - flags).to_bytes(1)  # the flags are 1 and 0, the number is 0
    unit = bytes([kind << 1, 1]) + sets._escaped(first + tail)
    moved = sets._unescaped(sets.renumbered(unit, Numbers(15, number, 15)))
    bits = format(int.from_bytes(moved[2:]), f"0{8 * len(moved[2:])}b")
    before = format(int.from_bytes(first + tail), f"0{8 * len(first + tail)}b")
    assert bits[:flags] == before[:flags]
    assert bits[flags : flags + 9] == format(number + 1, "09b")
    assert bits[flags + 9 :] == before[flags + 1 :]


def test_a_slice_that_refers_to_another_set_is_refused() -> None:
    with pytest.raises(Unfit):
        sets.renumbered(bytes([1 << 1, 1, 0b1010_0000]), Numbers(15, 30, 15))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@given(header=st.binary(max_size=60))
def test_a_damaged_header_is_told(codec: sets.Codec, header: bytes) -> None:
    try:
        found = sets.header_sets(codec, header)
        sets.free_numbers(codec, found)
        sets.merged_header(codec, header, found)
    except Unfit:
        pass


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@given(body=st.binary(max_size=60))
def test_a_damaged_header_of_the_right_kind_is_told(codec: sets.Codec, body: bytes) -> None:
    front = b"\1\x64\0\x1f\xff\xe1" if codec == "h264" else b"\1" + bytes(20) + b"\3\2"
    try:
        found = sets.header_sets(codec, front + body)
        sets.free_numbers(codec, found)
        sets.merged_header(codec, front + body, found)
    except Unfit:
        pass
