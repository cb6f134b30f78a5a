"""Cores: those that there are, and how processes and stages share them."""

from __future__ import annotations

import fcntl
import math
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from sorawm_pipeline.hardware.memory import cpu_quota

CORES_PER_THREAD = 4
"""Cores for one thread of a small network: codecs and the other stages want some as well."""

MOST_FRAMES = 16
"""Frames that an encoder may work at side by side, for it has all of them in memory."""

_claims: list[int] = []  # descriptors whose locks end with this process


def claim_cores(count: int, folder: Path | None = None) -> list[int]:
    """Bind this process to cores that no other one has claimed so, until it ends.

    Called before threads start, for these are counted from the cores that are there. Does nothing
    where not so many are free, or the system cannot bind.

    Args:
        count: how many.
        folder: of the locks, the same for all who share; None: one of this user's.

    Returns:
        Their numbers; empty: this process is not bound.
    """
    if sys.platform != "linux":
        return []
    folder = folder or Path(tempfile.gettempdir()) / f"sorawm-cores-{os.getuid()}"
    claimed: dict[int, int] = {}
    with suppress(OSError):  # another user's folder, or a full disk: then nothing is shared out
        folder.mkdir(mode=0o700, exist_ok=True)
        for core in sorted(os.sched_getaffinity(0)):
            if len(claimed) == count:
                break
            lock = os.open(folder / str(core), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
            else:
                claimed[core] = lock
    if len(claimed) < count:
        for lock in claimed.values():
            os.close(lock)
        return []
    os.sched_setaffinity(0, claimed)
    _claims.extend(claimed.values())
    return list(claimed)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def granted_cores() -> int:
    """As many of them as its control group lets it use at a time."""
    quota = cpu_quota()
    return usable_cores() if quota is None else min(usable_cores(), math.ceil(quota))


def network_threads() -> int:
    """Threads for one call of a small network, which more would hardly make faster."""
    return max(1, granted_cores() // CORES_PER_THREAD)


def frame_threads() -> int:
    """Frames that an encoder works at side by side."""
    return min(MOST_FRAMES, granted_cores())


def share_cores() -> None:
    """Have OpenCV use one thread in this process, for waking others takes longer than its work.

    To be called before the first frame, any number of times.
    """
    import cv2

    cv2.setNumThreads(1)
