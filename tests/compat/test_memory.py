"""`memory_manager`: real readings here, invented ones where the machine must be in trouble."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace

import psutil
import pytest
import structlog

from sorawm_pipeline.compat import MemoryManager, memory_manager
from sorawm_pipeline.compat.batches import batch_cap
from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.hardware.gpu import Gpu, GpuSnapshot
from sorawm_pipeline.hardware.memory import MemorySnapshot

GB = 1_000_000_000
FRAME = 1080, 1920, 3
FRAME_BYTES = 1080 * 1920 * 3 * 4


def manager(available: int, gpu: Gpu | None = None, total: int = 16 * GB) -> MemoryManager:
    host = MemorySnapshot(total, available, process=GB, peak=2 * GB)
    gpus = GpuSnapshot(1, "1.0", () if gpu is None else (gpu,))
    return MemoryManager(read=lambda: host, gpus=lambda: gpus)


def test_readings_of_this_machine() -> None:
    host = memory_manager.get_memory_info()["cpu_memory"]
    assert 0 < host["available"] <= host["total"] <= psutil.virtual_memory().total
    assert host["used"] == host["total"] - host["available"]
    assert 0 <= host["percent"] <= 100
    assert 0 < host["process"] <= host["total"]


def test_info_under_the_old_names() -> None:
    info = manager(4 * GB, Gpu(0, total=8 * GB, free=6 * GB)).get_memory_info()
    assert info["cpu_memory"] == {
        "total": 16 * GB,
        "available": 4 * GB,
        "used": 12 * GB,
        "percent": 75.0,
        "process": GB,
        "peak": 2 * GB,
    }
    assert info["gpu_memory"] == {
        "total": 8 * GB,
        "free": 6 * GB,
        "used": 2 * GB,
        "allocated": 0,
        "reserved": 0,
        "allocated_percent": 0.0,
        "reserved_percent": 0.0,
    }
    assert "gpu_memory" not in manager(4 * GB).get_memory_info()
    assert "gpu_memory" not in manager(4 * GB, Gpu(0, error="GPU is lost")).get_memory_info()


def test_what_torch_holds_is_told_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[bool] = []
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        memory_allocated=lambda: GB,
        memory_reserved=lambda: 2 * GB,
        empty_cache=lambda: emptied.append(True),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    manage = manager(4 * GB, Gpu(0, total=8 * GB, free=6 * GB))
    gpu = manage.get_memory_info()["gpu_memory"]
    assert (gpu["allocated"], gpu["reserved"]) == (GB, 2 * GB)
    assert (gpu["allocated_percent"], gpu["reserved_percent"]) == (12.5, 25.0)
    manage.cleanup_memory()
    assert emptied == [True]


def test_cleanup_collects_what_nobody_reaches() -> None:
    class Node:
        freed = False
        me: Node

        def __del__(self) -> None:
            Node.freed = True

    node = Node()
    node.me = node
    del node
    memory_manager.cleanup_memory()
    assert Node.freed


@pytest.mark.parametrize(
    ("available", "gpu", "high"),
    [
        (8 * GB, None, False),
        (int(1.7 * GB), None, False),
        (int(1.5 * GB), None, True),
        (8 * GB, Gpu(0, total=8 * GB, free=4 * GB), False),
        (8 * GB, Gpu(0, total=8 * GB, free=GB // 2), True),
        (8 * GB, Gpu(0, total=8 * GB, free=4 * GB, throttled=True), True),
        (8 * GB, Gpu(0), False),
    ],
)
def test_pressure(available: int, gpu: Gpu | None, high: bool) -> None:
    assert manager(available, gpu).is_memory_pressure_high() is high


@pytest.mark.parametrize(
    ("base", "available", "gpu", "size"),
    [
        (8, 8 * GB, None, 8),
        (8, GB, None, 4),  # pressure: half
        (1, GB, None, 1),
        (0, 8 * GB, None, 1),
        (1000, 8 * GB, None, 8 * GB * 3 // 10 // FRAME_BYTES),  # what fits
        (8, 8 * GB, Gpu(0, total=8 * GB, free=GB // 2), 4),
        (1000, 8 * GB, Gpu(0, total=8 * GB, free=4 * GB), 4 * GB * 3 // 10 // FRAME_BYTES),
    ],
)
def test_optimal_batch(base: int, available: int, gpu: Gpu | None, size: int) -> None:
    assert manager(available, gpu).get_optimal_batch_size(base, FRAME) == size


def test_at_least_one_frame_even_where_none_fits() -> None:
    assert manager(4 * GB).get_optimal_batch_size(8, (100_000, 100_000, 3)) == 1


def test_log_line() -> None:
    manage = manager(4 << 30, Gpu(0, total=8 << 30, free=6 << 30), total=16 << 30)
    with structlog.testing.capture_logs() as lines:
        manage.log_memory_usage("before processing")
    assert lines == [
        {
            "event": "memory",
            "log_level": "info",
            "stage": "before processing",
            "process": "0.93 GiB",
            "free": "4.00 GiB",
            "total": "16.00 GiB",
            "gpu_free": "6.00 GiB",
            "gpu": "8.00 GiB",
        }
    ]


def test_batches_stay_within_the_cap_and_in_order() -> None:
    sizes: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        return [item * 2 for item in items]

    assert batch_cap("cpu").run(work, list(range(10))) == list(range(0, 20, 2))
    assert max(sizes) == 4
    assert sum(sizes) == 10


def test_a_batch_that_does_not_fit_is_split() -> None:
    sizes: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        if len(items) > 2:
            raise MemoryError
        return items

    assert batch_cap("cpu").run(work, list(range(8))) == list(range(8))
    assert sizes[:2] == [4, 2]
    assert max(sizes[1:]) < 4, "what did not fit is not tried again at once"

    def never(items: Sequence[int]) -> Sequence[int]:
        raise MemoryError

    with pytest.raises(DeviceError, match="single frame"):
        batch_cap("cpu").run(never, [1, 2])
