"""The policy of batches on a simulated device: near the best, never beyond memory, soon back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.hardware.batch_cap import HEADROOM, PRESSURE, BatchCap
from tests.hardware.simulated import TOTAL, SimulatedDevice, work_off

LONG = 6000
"""Items of a run in which how it began hardly counts."""


@settings(max_examples=60, deadline=None)
@given(
    others=st.integers(0, 800),
    share=st.floats(0.001, 0.95),
    launch=st.floats(0, 8),
    most=st.sampled_from([8, 16, 32]),
    keeps=st.booleans(),
)
def test_it_is_within_a_twentieth_of_the_best_fixed_size(
    others: int, share: float, launch: float, most: int, keeps: bool
) -> None:
    item = max(1, int(share * (TOTAL * (1 - PRESSURE) - 1 - others)))
    device = SimulatedDevice(item, launch, 1.0, others=lambda _: others, keeps=keeps)
    cap = BatchCap(most, start=4, signals=device.signals, release=device.release)
    work_off(device, cap, LONG)
    best = device.seconds_each(device.best_fixed(most))
    assert device.seconds / LONG <= 1.05 * best


@settings(max_examples=60, deadline=None)
@given(
    item=st.integers(1, 120),
    taken=st.lists(st.integers(0, TOTAL - 120), min_size=1, max_size=40),
    heat=st.sets(st.integers(0, 40)),
    most=st.integers(1, 32),
    keeps=st.booleans(),
)
def test_whatever_others_take_no_batch_is_beyond_memory_and_nothing_is_lost(
    item: int, taken: list[int], heat: set[int], most: int, keeps: bool
) -> None:
    device = SimulatedDevice(
        item,
        1.0,
        1.0,
        others=lambda done: taken[done % len(taken)],
        slow=lambda done: done in heat,
        keeps=keeps,
    )
    cap = BatchCap(most, signals=device.signals, release=device.release)
    assert work_off(device, cap, 300) == [2 * index for index in range(300)]
    for done, size in enumerate(device.sizes):
        assert taken[done % len(taken)] + item * size <= TOTAL


@settings(deadline=None)
@given(
    most=st.integers(2, 32),
    pressed=st.integers(1, 60),
    item=st.integers(1, 3),
    keeps=st.booleans(),
)
def test_it_is_back_soon_after_others_have_let_go(
    most: int, pressed: int, item: int, keeps: bool
) -> None:
    """One more item with each full batch, from whatever pressure left of the cap.

    Where memory really ran out, the size that did not fit is tried again more slowly.
    """
    begin = 100
    device = SimulatedDevice(
        item,
        1.0,
        1.0,
        others=lambda done: int(TOTAL * (1 - PRESSURE)) if begin <= done < begin + pressed else 0,
        keeps=keeps,
    )
    cap = BatchCap(most, signals=device.signals, release=device.release)
    while len(device.sizes) < begin:
        work_off(device, cap, cap.cap())
    before = cap.cap()
    assert before == min(most, device.best_fixed(most))
    while len(device.sizes) < begin + pressed:
        work_off(device, cap, cap.cap())
    low = cap.cap()
    assert low < before
    for _ in range(before - low + 1):
        work_off(device, cap, cap.cap())
    assert cap.cap() == before


def test_a_step_up_that_brings_pressure_is_taken_back_and_not_repeated_at_once() -> None:
    item = int(TOTAL * (HEADROOM - PRESSURE)) * 3
    device = SimulatedDevice(item, 1.0, 1.0)
    cap = BatchCap(64, signals=device.signals)
    work_off(device, cap, 2000)
    best = device.best_fixed(64)
    assert max(device.sizes) == best + 1
    later = device.sizes[2 * best : -1]
    assert set(later) <= {best, best + 1}
    assert later.count(best + 1) <= len(later) / 30


def test_what_is_cut_into_equal_parts_grows_to_a_single_one() -> None:
    """Eight wait each time: at a cap of 5 they go as 4 and 4, and neither fills the cap."""
    device = SimulatedDevice(1, 1.0, 1.0)
    cap = BatchCap(32, start=4, signals=device.signals)
    for _ in range(20):
        cap.run(device.run, range(8))
    assert device.sizes[-1] == 8
    assert cap.cap() == 9
