"""Files stand still before they are looked at; every change starts their wait anew."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.service.admission import LONGEST_WAIT_S, Admission
from sorawm_pipeline.service.jobs import Fingerprint

A, B = Path("/in/a"), Path("/in/b")


def one(size: int) -> Fingerprint:
    return Fingerprint(size, size)


def test_a_file_that_stands_still_is_ready_once() -> None:
    admission = Admission(2.0)
    admission.see(A, one(1), 10.0)
    assert admission.next_due() == 12.0
    admission.see(A, one(1), 11.0)
    assert admission.ready(11.9) == []
    (ready,) = admission.ready(12.0)
    assert (ready.path, ready.still_s, ready.looks) == (A, 2.0, 1)
    assert admission.ready(99.0) == []
    assert admission.next_due() is None


def test_every_change_starts_the_wait_anew() -> None:
    admission = Admission(2.0)
    admission.see(A, one(1), 10.0)
    admission.see(A, one(2), 11.9)
    assert admission.ready(12.0) == []
    (ready,) = admission.ready(13.9)
    admission.see(A, one(3), 14.0)
    assert not admission.unchanged(ready)
    admission.again(ready, 14.0)  # what was looked at is not what is there
    assert admission.next_due() == 16.0


def test_looks_that_settle_nothing_come_later_each_time() -> None:
    admission = Admission(2.0)
    admission.see(A, one(1), 0.0)
    now, waits = 2.0, []
    for _ in range(20):
        (ready,) = admission.ready(now)
        admission.again(ready, now)
        due = admission.next_due()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits[:3] == [4.0, 8.0, 16.0]
    assert waits[-1] == LONGEST_WAIT_S


def test_what_is_dropped_is_forgotten() -> None:
    admission = Admission(0.0)
    admission.see(A, one(1), 0.0)
    (ready,) = admission.ready(0.0)
    admission.drop(A)
    admission.again(ready, 0.0)
    assert not admission.unchanged(ready)
    assert len(admission) == 0


def test_the_longest_still_comes_first() -> None:
    admission = Admission(1.0)
    admission.see(B, one(1), 0.0)
    admission.see(A, one(1), 1.0)
    assert [ready.path for ready in admission.ready(9.0)] == [B, A]
    assert admission.below(Path("/in")) == [B, A]


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 2)), max_size=30))
def test_nothing_is_ready_that_changed_less_than_settle_s_ago(
    steps: list[tuple[float, int]],
) -> None:
    admission, now, size, changed = Admission(2.0), 0.0, -1, 0.0
    for wait, seen in steps:
        now += wait
        for _ in admission.ready(now):
            assert now - changed >= 2.0 - 1e-9  # sums of floats
            admission.drop(A)
            size = -1
        if seen != size:
            changed, size = now, seen
        admission.see(A, one(seen), now)
