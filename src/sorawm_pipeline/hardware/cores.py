"""Cores that the processes of a machine share out among themselves."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

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
