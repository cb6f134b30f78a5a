"""Fairness, stragglers, retries and what the head holds, one by one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Hashable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.scheduling import Assignment, Limits, Scheduler


def given_to(scheduler: Scheduler, slot: Hashable, now: float = 0.0) -> Assignment:
    work = scheduler.next_for(slot, now)
    assert work is not None
    return work


def test_a_short_clip_behind_a_long_one_has_the_next_free_slot() -> None:
    scheduler = Scheduler()
    long = scheduler.add(600, 60.0)
    under_way = [given_to(scheduler, slot) for slot in range(4)]
    assert {work.ticket for work in under_way} == {long}
    short = scheduler.add(1, 60.0)
    scheduler.finished(under_way[0], 60.0)
    assert given_to(scheduler, 0, 60.0).ticket == short


@given(
    sizes=st.lists(st.tuples(st.sampled_from([1, 2, 4, 16]), st.floats(0.5, 2)), min_size=2),
    weights=st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3])),
    slots=st.integers(1, 3),
)
def test_classes_that_have_work_get_the_same_within_a_piece_of_each(
    sizes: list[tuple[int, float]], weights: tuple[int, int], slots: int
) -> None:
    """Theorem 1 of start-time fair queueing, over every stretch in which two classes have work."""
    scheduler = Scheduler(Limits(window=1000, late=float("inf")))
    of: dict[int, tuple[int, int]] = {}
    left: dict[tuple[int, int], int] = {}
    longest: dict[tuple[int, int], float] = {}
    for number, (pieces, cost) in enumerate(sizes):
        weight = weights[number % 2]
        key = (pieces, weight)
        of[scheduler.add(pieces, cost, weight=weight)] = key
        left[key] = left.get(key, 0) + pieces
        longest[key] = max(longest.get(key, 0.0), cost)
    got = dict.fromkeys(left, 0.0)
    marks: list[dict[tuple[int, int], float]] = [dict(got)]
    now = 0.0
    under_way: list[Assignment] = []
    while any(left.values()):
        backlogged = [key for key in left if left[key]]
        for mark in marks:
            for a, b in pairwise(backlogged):
                share = [(got[key] - mark[key]) / key[1] for key in (a, b)]
                assert abs(share[0] - share[1]) <= (longest[a] / a[1] + longest[b] / b[1] + 1e-9), (
                    a,
                    b,
                )
        if len(under_way) == slots:
            now += 1
            scheduler.finished(under_way.pop(0), now)
        free = next(s for s in range(slots) if s not in {work.slot for work in under_way})
        work = given_to(scheduler, free, now)
        under_way.append(work)
        key = of[work.ticket]
        got[key] += work.cost
        left[key] -= 1
        marks = [*marks, dict(got)][-40:]


def test_as_many_clips_are_under_way_as_slots_need() -> None:
    scheduler = Scheduler()
    for number in range(10_000):
        scheduler.add(1 + number % 20, 1.0, 0.1 * (number % 20 > 0))
    under_way: list[Assignment] = []
    ended = 0
    for turn in range(30_000):
        slot = turn if turn < 50 else under_way[0].slot
        if len(under_way) == 50:
            work = under_way.pop(0)
            if scheduler.finished(work, float(turn)).joinable:
                scheduler.remove(work.ticket, float(turn))
                ended += 1
        work_or_none = scheduler.next_for(slot, float(turn))
        assert work_or_none is not None
        under_way.append(work_or_none)
    stats = scheduler.statistics()
    assert ended > 500
    assert stats.begun <= 2 * 50 + 6  # 6 classes


def test_what_takes_too_long_is_done_once_more_and_the_first_result_counts() -> None:
    scheduler = Scheduler(Limits(copies=1.0))
    scheduler.add(4, 10.0)
    works = [given_to(scheduler, slot) for slot in range(4)]
    for work in works[:3]:
        scheduler.finished(work, 10.0)
    assert scheduler.next_for(0, 14.0) is None
    copy = given_to(scheduler, 0, 15.0)
    assert copy.copy
    assert copy.task == works[3].task
    assert scheduler.next_for(1, 24.0) is None  # no third one
    ended = scheduler.finished(copy, 25.0)
    assert ended.first
    assert ended.joinable
    assert ended.cancel == (works[3],)
    assert not scheduler.finished(works[3], 32.0).first
    assert scheduler.statistics().copied_s == 25.0


def test_nothing_is_done_once_more_while_something_waits() -> None:
    scheduler = Scheduler()
    scheduler.add(9, 10.0)
    works = [given_to(scheduler, slot) for slot in range(2)]
    scheduler.finished(works[0], 10.0)
    assert not given_to(scheduler, 0, 100.0).copy


def test_a_slow_slot_gets_no_copies() -> None:
    scheduler = Scheduler(Limits(copies=1.0))
    scheduler.add(8, 10.0)
    works = [given_to(scheduler, slot) for slot in range(8)]
    for work in works[:6]:
        scheduler.finished(work, 10.0)
    scheduler.finished(works[6], 80.0)  # slot 6 is slow
    # What is late by 21 s is expected to need 21 s more; the slow slot would need 31.
    late = scheduler.add(1, 10.0)
    slow = given_to(scheduler, 0, 80.0)
    assert slow.ticket == late
    scheduler.finished(works[7], 80.0)
    assert scheduler.next_for(6, 101.0) is None
    assert given_to(scheduler, 1, 106.0).copy


def test_a_failed_piece_goes_to_another_slot_and_is_given_up_in_the_end() -> None:
    scheduler = Scheduler(Limits(tries=3))
    ticket = scheduler.add(2, 1.0)
    first, other = given_to(scheduler, 0), given_to(scheduler, 1)
    scheduler.failed(first, 1.0)
    assert scheduler.next_for(0, 1.0) is None
    scheduler.finished(other, 1.0)
    again = given_to(scheduler, 1, 1.0)
    assert again.task == first.task
    scheduler.failed(again, 2.0)
    assert scheduler.failed(given_to(scheduler, 0, 2.0), 3.0).given_up
    with pytest.raises(KeyError):
        scheduler.joinable(ticket)


def test_what_kills_its_slots_is_given_up_too() -> None:
    scheduler = Scheduler(Limits(losses=3))
    scheduler.add(1, 1.0)
    outcomes = []
    for name in range(3):
        given_to(scheduler, name)
        outcomes.append(scheduler.lost(name, 1.0).given_up)
    assert outcomes == [False, False, True]


def test_what_a_lost_slot_did_goes_to_the_front() -> None:
    scheduler = Scheduler()
    scheduler.add(5, 1.0)
    work = given_to(scheduler, 0)
    scheduler.add(1, 1.0)
    scheduler.lost(0, 1.0)
    assert given_to(scheduler, 1, 1.0).task == work.task


def test_a_slot_that_only_fails_is_set_aside_for_longer_each_time() -> None:
    scheduler = Scheduler(Limits(tries=100, late=float("inf"), slot_failures=2, rest_s=10.0))
    scheduler.add(100, 1.0)
    good = given_to(scheduler, "good")
    for _ in range(2):
        scheduler.failed(given_to(scheduler, "bad", 0.0), 0.0)
    assert scheduler.next_for("bad", 9.0) is None
    assert scheduler.wake(1.0) == 10.0
    scheduler.failed(given_to(scheduler, "bad", 10.0), 10.0)
    assert scheduler.next_for("bad", 29.0) is None
    scheduler.finished(given_to(scheduler, "bad", 30.0), 31.0)
    scheduler.failed(given_to(scheduler, "bad", 31.0), 31.0)
    assert scheduler.next_for("bad", 31.0) is not None
    scheduler.finished(good, 32.0)


def test_the_last_half_of_the_slots_is_never_set_aside() -> None:
    scheduler = Scheduler(Limits(tries=100, slot_failures=1))
    scheduler.add(1000, 1.0)
    for _ in range(20):
        for slot in range(4):
            work = scheduler.next_for(slot, 0.0)
            if work is not None:
                scheduler.failed(work, 0.0)
    assert scheduler.statistics().aside == 2


def test_a_clip_that_waits_costs_about_a_hundred_bytes() -> None:
    scheduler = Scheduler()
    tracemalloc.start()
    for number in range(100_000):
        scheduler.add(1 + number % 50, 10.0 + number % 77, 1.0)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size / 100_000 < 160


def test_a_clip_of_a_billion_pieces_is_a_range() -> None:
    scheduler = Scheduler()
    scheduler.add(1_000_000_000, 1.0, 0.1)
    for turn in range(100):
        scheduler.finished(given_to(scheduler, 0, float(turn)), turn + 0.5)


@pytest.mark.parametrize("wrong", [(0, 1.0, 1.0), (1, -1.0, 1.0), (1, 1.0, 0.0)])
def test_nonsense_is_refused(wrong: tuple[int, float, float]) -> None:
    pieces, cost, weight = wrong
    with pytest.raises(ValueError, match="pieces"):
        Scheduler().add(pieces, cost, weight=weight)
    scheduler = Scheduler()
    scheduler.add(1, 1.0)
    given_to(scheduler, 0)
    with pytest.raises(ValueError, match="at work"):
        scheduler.next_for(0, 1.0)


def test_a_class_that_had_nothing_to_do_has_saved_nothing_up() -> None:
    scheduler = Scheduler()
    scheduler.add(600, 1.0)
    for turn in range(100):
        scheduler.finished(given_to(scheduler, 0, float(turn)), turn + 1.0)
    shorts = {scheduler.add(1, 1.0) for _ in range(100)}
    served = 0
    for turn in range(100, 120):
        work = given_to(scheduler, 0, float(turn))
        served += work.ticket in shorts
        scheduler.finished(work, turn + 1.0)
    assert 9 <= served <= 11
