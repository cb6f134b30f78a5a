"""How the stages, which run side by side, share the machine's cores and this process's memory."""

from __future__ import annotations

import ctypes
import math
import os
import sys

from sorawm_pipeline.hardware.memory import cpu_quota

M_ARENA_MAX, ARENAS = -8, 2
"""glibc's name for the number of its arenas, and how many there are to be."""

CORES_PER_THREAD = 4
"""Cores for one thread of a small network: codecs and the other stages want some as well."""


def usable_cores() -> int:
    """Cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def network_threads() -> int:
    """Threads for one call of a small network, which more would hardly make faster."""
    granted = cpu_quota()
    cores = usable_cores() if granted is None else min(usable_cores(), math.ceil(granted))
    return max(1, cores // CORES_PER_THREAD)


def share_process() -> None:
    """Set what libraries keep for the whole process, before the first frame. Any number of times.

    OpenCV uses one thread: what it is given here is small, and waking others takes longer. All
    threads share a few of glibc's arenas unless MALLOC_ARENA_MAX says how many: frames wander from
    thread to thread, so what lies free in the arena of one is of no use to the others.
    """
    import cv2

    cv2.setNumThreads(1)
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # other C libraries have none
            mallopt(M_ARENA_MAX, ARENAS)
