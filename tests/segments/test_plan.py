"""Where clips are cut, which frames count for a piece, and when packets are decoded."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.media.gops import Gops
from sorawm_pipeline.media.parameter_sets import Numbers
from sorawm_pipeline.media.timeline import Timeline
from sorawm_pipeline.segments import plan
from sorawm_pipeline.segments.plan import (
    Around,
    Piece,
    Reach,
    around,
    changed_groups,
    cut,
    decoding_times,
)

REACH = Reach(window=12, together=4)


def timeline(pts: list[int], starts: list[int]) -> Timeline:
    shown = np.array(pts, np.int64)
    return Timeline(shown, np.array(starts, np.int64), np.arange(len(starts), dtype=np.int64))


def groups(starts: list[int]) -> Gops:
    return Gops("h264", tuple(starts), (1,) * len(starts), (), 2, b"", 4, Numbers(1, 1))


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    steps = draw(st.lists(st.integers(1, 40), min_size=1, max_size=120))
    pts = np.cumsum([draw(st.integers(-100, 100)), *steps]).tolist()
    starts = sorted({0, *draw(st.sets(st.integers(0, len(pts) - 1), max_size=20))})
    return timeline(pts, starts)


@given(timelines(), st.floats(0.1, 3))
def test_pieces_cover_the_clip_and_begin_with_key_frames(line: Timeline, length_s: float) -> None:
    pieces = cut(line, None, Fraction(1, 100), length_s)
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert [piece.first for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == len(line)
    for piece in pieces:
        assert piece.first in line.starts
        assert piece.first < piece.end
    for piece in pieces[:-1]:
        assert line.pts[piece.end] - line.pts[piece.first] >= length_s * 100


def test_a_group_that_may_be_copied_is_not_cut() -> None:
    line = timeline(list(range(60)), list(range(0, 60, 10)))
    pieces = cut(line, groups([0, 20, 40]), Fraction(1, 10), 1)
    assert [piece.first for piece in pieces] == [0, 20, 40]


def test_what_is_left_goes_to_the_last_piece_if_it_is_short() -> None:
    line = timeline(list(range(44)), list(range(0, 44, 10)))
    assert [p.first for p in cut(line, None, Fraction(1, 10), 1)] == [0, 10, 20, 30]
    line = timeline(list(range(46)), list(range(0, 46, 10)))
    assert [p.first for p in cut(line, None, Fraction(1, 10), 1)] == [0, 10, 20, 30, 40]


def flags(total: int, *runs: range) -> np.ndarray:
    marked = np.zeros(total, np.bool_)
    for run in runs:
        marked[run.start : run.stop] = True
    return marked


def test_a_part_reaches_from_a_free_frame_to_a_free_frame() -> None:
    marked = flags(200, range(10, 30), range(31, 50))
    assert around(marked, 20, 40, 200, REACH) == Around(9, 51)
    assert around(marked, 30, 40, 200, REACH) == Around(30, 51)
    assert around(marked, 60, 80, 200, REACH) == Around(60, 80)
    assert around(marked, 0, 5, 200, REACH) == Around(0, 5)


def test_a_mark_from_the_first_frame_on_reaches_to_the_first_frame() -> None:
    assert around(flags(100, range(50)), 40, 60, 100, REACH) == Around(0, 60)


def test_it_says_when_too_little_is_known_yet() -> None:
    marked = flags(200, range(10, 200))
    assert around(marked[:39], 20, 40, 200, REACH) is None
    assert around(marked[:50], 20, 40, 200, REACH) is None
    assert around(marked[:56], 20, 40, 200, REACH) == Around(9, 56)
    assert around(marked, 180, 200, 200, REACH) == Around(9, 200)


def test_a_long_run_is_entered_where_the_stages_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "LONG", 30)
    marked = flags(1000, range(10, 1000))
    area = around(marked, 500, 520, 1000, REACH)
    assert area is not None
    assert 500 - area.first >= REACH.window + REACH.together
    assert (area.first - 9) % REACH.period == 0
    assert area.behind == (area.first - 10) % REACH.together


@given(st.data())
def test_a_part_never_begins_or_ends_inside_itself(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 400))
    marked = np.array(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)))
    first = data.draw(st.integers(0, total - 1))
    end = data.draw(st.integers(first + 1, total))
    area = around(marked, first, end, total, REACH)
    assert area is not None
    assert 0 <= area.first <= first
    assert end <= area.end <= total
    assert 0 <= area.behind < REACH.together


def test_groups_with_a_mark_are_told() -> None:
    line = timeline([3 * n for n in range(60)], list(range(0, 60, 10)))
    marked = flags(60, range(25, 26), range(39, 41))
    gops = groups([0, 30, 60, 90, 120])
    assert changed_groups(gops, line, marked, Piece(1, 20, 60)) == (2, 5, [0, 1, 2])
    assert changed_groups(gops, line, marked, Piece(0, 0, 20)) == (0, 2, [])


@given(timelines(), st.integers(0, 5), st.data())
def test_pieces_are_decoded_one_after_the_other(
    line: Timeline, reorder: int, data: st.DataObject
) -> None:
    bounds = sorted({0, len(line), *data.draw(st.sets(st.integers(0, len(line)), max_size=4))})
    times = [
        time
        for first, end in itertools.pairwise(bounds)
        for time in decoding_times(line, first, end, reorder)
    ]
    assert len(times) == len(line)
    assert all(one < other for one, other in itertools.pairwise(times))
    assert all(time <= shown for time, shown in zip(times, line.pts.tolist(), strict=True))
    assert times[reorder:] == line.pts[: max(0, len(line) - reorder)].tolist()
