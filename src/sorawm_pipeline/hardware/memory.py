"""Memory readings: what this process uses, and what it may still take.

In a container the machine's own figures are far too high, so the limits of the control group
(cgroup v2) that holds the process, and of every group around it, are respected.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUP_ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

M_MMAP_THRESHOLD = -3
"""What glibc's mallopt calls it."""

LARGE = 2_000_000
"""Bytes from which memory is mapped by itself: the luma of a picture at 1080p. What is smaller
would be mapped, and so cleared by the kernel, too often."""


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Memory at one moment, in bytes.

    Attributes:
        total: what the machine has, or the tightest control group allows.
        available: what can be taken without swapping, in the machine and in every group.
        process: resident set of this process.
        peak: largest resident set that this process ever had.
    """

    total: int
    available: int
    process: int
    peak: int

    def free_share(self, budget: int | None = None) -> float:
        """Share of `budget` (default: of all there is) that this process may still take, 0 to 1.

        With a budget the process is measured against it too, so the smaller share counts.
        """
        shares = [self.available / max(1, self.total)]
        if budget is not None:
            shares.append(1 - self.process / budget)
        return min(1.0, max(0.0, min(shares)))


def read_memory() -> MemorySnapshot:
    """The readings of this moment; takes well under a millisecond."""
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for limit, used in _cgroup_limits():
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return MemorySnapshot(total, available, psutil.Process().memory_info().rss, peak_rss())


def peak_rss() -> int:
    """Largest resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Return what is not used any more to the system, as far as the C library can (glibc's).

    libav's containers and streams refer to each other, so a large encoder lives on until cycles are
    looked for, and what malloc has got back it keeps where smaller things lie above.
    """
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Have malloc return what is free, where it is the GNU library's."""
    _told_malloc("malloc_trim", 0)


def map_large() -> None:
    """Have malloc map what is large by itself, so that it goes back as soon as it is freed.

    Left alone it learns to put pictures among everything else, and what they leave there is too
    seldom at an end of the heap to be given back. For programs; a library has no right to it.
    """
    _told_malloc("mallopt", M_MMAP_THRESHOLD, LARGE)


def _told_malloc(name: str, *arguments: int) -> None:
    """Call a function that only the GNU library has, where it is there."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def cpu_quota() -> float | None:
    """Cores that the tightest control group grants this process, or None where it sets no limit."""
    quotas = []
    for group in _groups():
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _cgroup_limits() -> list[tuple[int, int]]:
    """Limit and use, in bytes, of every group around the process that has a limit."""
    limits = []
    for group in _groups():
        limit = _text(group / "memory.max")
        used = _text(group / "memory.current")
        if limit.isdigit() and used.isdigit():
            # File pages that nobody touched lately are given back on demand, so they are not used.
            inactive = _statistic(group / "memory.stat", "inactive_file")
            limits.append((int(limit), max(0, int(used) - inactive)))
    return limits


def _groups() -> list[Path]:
    """The folders of this process's cgroup v2 group and all groups around it, innermost first."""
    for line in _text(MEMBERSHIP).splitlines():
        hierarchy, _, path = line.partition("::")
        if hierarchy == "0":
            group = CGROUP_ROOT / path.lstrip("/")
            inside = [group, *group.parents]
            return inside[: inside.index(CGROUP_ROOT) + 1] if CGROUP_ROOT in inside else []
    return []


def _statistic(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
