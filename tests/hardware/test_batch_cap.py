"""The batch policy: pure, bounded, quick to give way and sure to recover."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.hardware.batch_cap import (
    HEADROOM,
    PATIENCE,
    PRESSURE,
    BatchCap,
    CapState,
    Signals,
    is_out_of_memory,
)

PRESSED = PRESSURE / 2
TIGHT = (PRESSURE + HEADROOM) / 2


class OutOfMemoryError(RuntimeError):
    """Named as torch's, which is told by its name."""


class Device:
    """Doubles numbers, up to `room` at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, part: Sequence[int]) -> list[int]:
        self.sizes.append(len(part))
        if len(part) > self.room:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [2 * item for item in part]


def steady(cap: BatchCap, device: Device, batches: int) -> list[int]:
    """Full batches, as a stage with a long queue takes them; the cap after each."""
    caps = []
    for _ in range(batches):
        cap.run(device, range(cap.cap()))
        caps.append(cap.cap())
    return caps


# growing and shrinking


def test_grows_by_one_per_full_batch_up_to_the_maximum() -> None:
    cap = BatchCap(max_cap=5)
    assert steady(cap, Device(room=99), 6) == [2, 3, 4, 5, 5, 5]


def test_does_not_grow_when_less_was_waiting_than_the_cap_allows() -> None:
    cap = BatchCap(max_cap=8, start=4)
    cap.run(Device(room=99), range(3))
    assert cap.cap() == 4


def test_does_not_grow_without_headroom() -> None:
    cap = BatchCap(max_cap=8, start=4, signals=lambda: Signals(1, TIGHT))
    assert steady(cap, Device(room=99), 3) == [4, 4, 4]


@pytest.mark.parametrize(
    "trouble", [Signals(1, memory_free=PRESSED), Signals(1, memory_free=1.0, throttled=True)]
)
def test_halves_on_pressure_once_per_reading(trouble: Signals) -> None:
    cap = BatchCap(max_cap=64, start=64, signals=lambda: trouble)
    assert steady(cap, Device(room=99), 3) == [32, 32, 32]


def test_halves_again_when_the_next_reading_still_shows_pressure() -> None:
    readings = iter(Signals(sample, PRESSED) for sample in range(1, 9))
    cap = BatchCap(max_cap=64, start=64, signals=lambda: next(readings))
    assert steady(cap, Device(room=99), 8) == [32, 16, 8, 4, 2, 1, 1, 1]


def test_recovers_after_pressure() -> None:
    free = [PRESSED] * 4 + [1.0] * 20
    readings = iter(Signals(sample, share) for sample, share in enumerate(free))
    cap = BatchCap(max_cap=16, start=16, signals=lambda: next(readings))
    assert steady(cap, Device(room=99), 24)[-1] == 16


def test_a_size_that_ran_out_of_memory_is_avoided_then_tried_again() -> None:
    cap, device = BatchCap(max_cap=8), Device(room=5)
    assert steady(cap, device, 30)[10:] == [5] * 20
    assert device.sizes.count(6) == 1
    device.room = 8  # another process has ended
    assert steady(cap, device, 4 * PATIENCE)[-1] == 8


def test_a_fixed_size_gives_way_too() -> None:
    cap = BatchCap(max_cap=8, start=8)
    assert cap.run(Device(room=3), range(8)) == [2 * i for i in range(8)]
    assert cap.cap() == 3


@pytest.mark.parametrize(("max_cap", "start"), [(0, 0), (4, 0), (4, 5)])
def test_impossible_bounds_are_refused(max_cap: int, start: int) -> None:
    with pytest.raises(ValueError, match="start must be from 1 to max_cap"):
        BatchCap(max_cap, start=start)


events = st.one_of(
    st.tuples(st.just("ok"), st.integers(1, 40), st.integers(0, 5), st.floats(0, 1), st.booleans()),
    st.tuples(st.just("oom"), st.integers(1, 40), st.just(0), st.just(0.0), st.just(False)),
)


@settings(deadline=None)
@given(st.integers(1, 40), st.lists(events, max_size=60))
def test_the_state_keeps_its_bounds(
    max_cap: int, history: list[tuple[str, int, int, float, bool]]
) -> None:
    state = CapState(cap=1, max_cap=max_cap, ceiling=max_cap)
    for kind, wanted, sample, free, throttled in history:
        size, before = min(wanted, state.cap), state
        if kind == "oom":
            state = state.after_out_of_memory(size)
            assert state.cap <= max(1, size // 2)
        else:
            signals = Signals(sample, free, throttled)
            state = state.after_success(size, signals)
            assert state.cap <= before.cap + 1
            if signals.pressure:
                assert state.cap <= before.cap
        assert 1 <= state.cap <= state.ceiling <= max_cap


# running


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.lists(st.integers(0, 30), max_size=12))
def test_every_item_has_its_result_in_order_however_often_memory_runs_out(
    room: int, max_cap: int, lengths: list[int]
) -> None:
    cap = BatchCap(max_cap)
    for length in lengths:
        assert cap.run(Device(room), range(length)) == [2 * i for i in range(length)]
        assert 1 <= cap.cap() <= max_cap


def test_after_a_shortage_smaller_batches_follow() -> None:
    device = Device(room=2)
    BatchCap(max_cap=8, start=8).run(device, range(7))
    assert device.sizes == [7, 3, 1, 2, 2, 2]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 60))
def test_no_call_is_larger_than_the_cap_and_all_are_of_about_one_size(
    size: int, count: int
) -> None:
    device = Device(room=99)
    BatchCap(max_cap=size, start=size).run(device, range(count))
    assert max(device.sizes) <= size
    assert max(device.sizes) - min(device.sizes) <= 1
    assert len(device.sizes) == -(-count // size)


def test_an_empty_batch_calls_nothing() -> None:
    device = Device(room=1)
    assert BatchCap(max_cap=2).run(device, []) == []
    assert device.sizes == []


def test_one_item_that_does_not_fit_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match=r"single frame .*CUDA out of memory") as caught:
        BatchCap(max_cap=4).run(Device(room=0), range(4))
    assert caught.value.kind == "device"


def test_other_errors_pass_untouched() -> None:
    def broken(part: Sequence[int]) -> list[int]:
        raise ZeroDivisionError

    cap = BatchCap(max_cap=4, start=4)
    with pytest.raises(ZeroDivisionError):
        cap.run(broken, range(4))
    assert cap.cap() == 4


def test_a_lost_result_is_noticed() -> None:
    with pytest.raises(ValueError, match="3 items went in, 2 results came out"):
        BatchCap(max_cap=4, start=4).run(lambda part: part[1:], range(3))


def test_nothing_of_the_failed_call_is_held_when_smaller_ones_are_tried() -> None:
    class Tensor:
        pass

    held: list[weakref.ref[Tensor]] = []
    alive_at_release: list[bool] = []

    def hungry(part: Sequence[int]) -> list[int]:
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        if len(part) > 1:
            raise MemoryError
        return list(part)

    cap = BatchCap(
        max_cap=4,
        start=4,
        release=lambda: alive_at_release.append(any(ref() is not None for ref in held)),
    )
    cap.run(hungry, range(4))
    assert alive_at_release == [False, False]


# telling what is a lack of memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError(),
        type("AcceleratorOutOfMemory", (OutOfMemoryError,), {})(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        Exception(
            "[ONNXRuntimeError] : 1 : FAIL : bfc_arena.cc:376 BFCArena::AllocateRawInternal "
            "Failed to allocate memory for requested buffer of size 1048576"
        ),
        Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
        Exception("OpenCV(4.12) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate"),
    ],
)
def test_lack_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("memory format"),
        KeyboardInterrupt("out of memory"),
    ],
)
def test_other_trouble(error: BaseException) -> None:
    assert not is_out_of_memory(error)
