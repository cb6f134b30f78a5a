"""Both kinds of device feed the same policy."""

from __future__ import annotations

from sorawm_pipeline.hardware.batch_cap import BatchCap, Signals
from sorawm_pipeline.hardware.gpu import Gpu, GpuSnapshot
from sorawm_pipeline.hardware.memory import MemorySnapshot
from sorawm_pipeline.hardware.signals import gpu_signals, host_signals


def test_host_memory_is_read_at_most_once_per_interval() -> None:
    now, reads = [0.0], [0]

    def read() -> MemorySnapshot:
        reads[0] += 1
        return MemorySnapshot(total=100, available=100 - 10 * reads[0], process=10, peak=10)

    signals = host_signals(interval_s=1, read=read, clock=lambda: now[0])
    assert [signals(), signals()] == [Signals(1, 0.9)] * 2
    now[0] = 1.0
    assert signals() == Signals(2, 0.8)


def test_a_budget_is_kept_by_the_policy() -> None:
    """A process of 100 bytes plus 10 per item in a budget of 200 settles where 10 % stay free."""
    cap = BatchCap(
        max_cap=64,
        signals=host_signals(
            200,
            interval_s=0,
            read=lambda: MemorySnapshot(10_000, 9_000, 100 + 10 * cap.cap(), 0),
            clock=lambda: 0.0,
        ),
    )
    sizes = []
    for _ in range(200):
        cap.run(list, range(cap.cap()))
        sizes.append(cap.cap())
    assert max(sizes) * 10 + 100 <= 200
    assert min(sizes[20:]) >= 4


def test_a_gpu_by_its_uuid() -> None:
    first = Gpu(0, uuid="GPU-a", total=100, free=5)
    second = Gpu(1, uuid="GPU-b", total=100, free=50, throttled=True)
    snapshot = GpuSnapshot(3, gpus=(first, second))
    assert gpu_signals(lambda: snapshot, "b")() == Signals(3, 0.5, throttled=True)
    assert gpu_signals(lambda: snapshot, None)() == Signals(3, 0.05)


def test_a_gpu_that_keeps_its_memory_to_itself_gives_no_pressure() -> None:
    snapshot = GpuSnapshot(3, gpus=(Gpu(0, uuid="GPU-a", error="GPU is lost"),))
    assert gpu_signals(lambda: snapshot, "a")() == Signals(3)
    assert gpu_signals(lambda: snapshot, "x")() == Signals(3)
    assert gpu_signals(GpuSnapshot, None)() == Signals(0)
