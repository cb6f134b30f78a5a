"""The simulated machine: the real engine keeps its busiest part busy, within its bound."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gpu_machine import MACHINE, SIZES, simulate

FRAMES = 4000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("all_on_gpu", [False, True])
def test_the_busiest_part_hardly_ever_waits(size: str, all_on_gpu: bool) -> None:
    told = simulate(size, FRAMES, all_on_gpu=all_on_gpu)
    assert told["frames"] == FRAMES  # in order, or the sink would have said so
    assert told["share_of_bound"] >= 0.97
    assert told["fps"] == pytest.approx(told["bound_fps"] * told["share_of_bound"], rel=0.01)
    assert told["live_frames"]["peak"] <= told["live_frames"]["bound"]


def test_the_gpu_can_be_the_busiest_part() -> None:
    slow = replace(MACHINE, fill_s=6e-3, look_s=10e-3)
    told = simulate("1080p", FRAMES, all_on_gpu=True, machine=slow)
    assert told["bottleneck"] == "GPU"
    assert told["share_of_bound"] >= 0.97


def test_bursts_from_the_temporal_window_would_cost_a_fifth() -> None:
    told = simulate("1080p", FRAMES, all_on_gpu=False, bursts=True)
    assert told["share_of_bound"] < 0.85


def test_batches_give_way_to_a_gpu_that_is_nearly_full() -> None:
    full = replace(MACHINE, taken=MACHINE.memory - 3 * MACHINE.fill_bytes)
    told = simulate("1080p", 600, all_on_gpu=True, machine=full)
    assert told["frames"] == 600
    assert told["largest_batches"]["inpaint"] <= 3
