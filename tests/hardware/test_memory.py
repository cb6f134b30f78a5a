"""Memory readings and the limits of control groups."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest

from sorawm_pipeline.hardware import memory
from sorawm_pipeline.hardware.memory import MemorySnapshot, peak_rss, read_memory


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup v2 tree with the process in /outer/inner; returns the folder of that group."""
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/elsewhere\n0::/outer/inner\n")
    inner = tmp_path / "fs" / "outer" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.setattr(memory, "CGROUP_ROOT", tmp_path / "fs")
    monkeypatch.setattr(memory, "MEMBERSHIP", membership)
    return inner


def test_a_reading_of_this_machine() -> None:
    snapshot = read_memory()
    assert 0 < snapshot.process <= snapshot.total
    assert 0 < snapshot.available <= snapshot.total
    assert peak_rss() >= snapshot.peak >= snapshot.process // 2


def test_peak_is_in_bytes_and_grows() -> None:
    before = peak_rss()
    ballast = bytearray(before + (8 << 20))
    assert peak_rss() >= before + len(ballast) // 2


def test_a_group_lowers_total_and_available(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("1000000\n")
    (cgroup / "memory.current").write_text("700000\n")
    (cgroup / "memory.stat").write_text("anon 600000\ninactive_file 100000\n")
    snapshot = read_memory()
    assert (snapshot.total, snapshot.available) == (1_000_000, 400_000)


def test_the_tightest_of_all_groups_around_counts(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("max\n")
    (cgroup.parent / "memory.max").write_text("5000\n")
    (cgroup.parent / "memory.current").write_text("6000\n")
    snapshot = read_memory()
    assert (snapshot.total, snapshot.available) == (5000, 0)


def test_groups_without_limits_change_nothing(cgroup: Path) -> None:
    (cgroup / "memory.max").write_text("max\n")
    assert read_memory().total > 1 << 20
    assert memory.cpu_quota() is None


def test_cpu_quota(cgroup: Path) -> None:
    (cgroup / "cpu.max").write_text("max 100000\n")
    (cgroup.parent / "cpu.max").write_text("150000 100000\n")
    assert memory.cpu_quota() == 1.5


@pytest.mark.parametrize("membership", ["", "1:cpu:/x\n", "0::/../../elsewhere\n"])
def test_a_machine_without_cgroup_v2(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, membership: str
) -> None:
    (tmp_path / "membership").write_text(membership)
    assert read_memory().total > 1 << 20


@pytest.mark.parametrize(
    ("budget", "share"),
    [(None, 0.5), (1000, 0.5), (400, 0.25), (300, 0.0), (100, 0.0)],
)
def test_free_share(budget: int | None, share: float) -> None:
    snapshot = MemorySnapshot(total=2000, available=1000, process=300, peak=300)
    assert snapshot.free_share(budget) == pytest.approx(share)


def test_what_refers_to_itself_is_given_back() -> None:
    class Large:
        def __init__(self) -> None:
            self.itself = self

    gc.disable()
    try:
        lost = weakref.ref(Large())
        memory.give_back()
    finally:
        gc.enable()
    assert lost() is None


def test_another_c_library_has_nothing_to_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    memory.give_back()


def test_glibc_is_told_to_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    libc = SimpleNamespace(malloc_trim=told.append)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    monkeypatch.setattr(sys, "platform", "linux")
    memory.give_back()
    assert told == [0]


MAPPED = """
import ctypes
from sorawm_pipeline.hardware.memory import LARGE, map_large
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
class Told(ctypes.Structure):
    _fields_ = [("before", ctypes.c_size_t * 3), ("hblks", ctypes.c_size_t)]
    _fields_ += [("behind", ctypes.c_size_t * 6)]
libc.mallinfo2.restype = Told
{call}
libc.free(libc.malloc(8 * LARGE))  # what malloc learns from
before = libc.mallinfo2().hblks
libc.malloc(2 * LARGE)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library")
@pytest.mark.parametrize(("call", "mapped"), [("", 0), ("map_large()", 1)])
def test_what_is_large_is_mapped_by_itself(call: str, mapped: int) -> None:
    command = [sys.executable, "-c", MAPPED.format(call=call)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(told.stdout) == mapped
