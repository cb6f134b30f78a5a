"""Holding the queue while a disk is full, and letting it go on when there is room again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sorawm_pipeline.service import space
from sorawm_pipeline.service.signals import Gate

TOPIC = "disk"
LONGEST_S = 300.0
"""A write that failed for lack of room is tried again after so long at the latest."""


class Room:
    """Closes the gate while a disk is full.

    Args:
        gate: the queue's.
        free: free bytes for a folder.
        clock: seconds that do not jump.
    """

    _waiting: tuple[Path, int, float] | None = None

    def __init__(
        self,
        gate: Gate,
        free: Callable[[Path], int] = space.free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self._free = free
        self._clock = clock

    def free(self, folder: Path) -> int:
        """Free bytes for a folder; very many where the disk does not answer: others judge that."""
        try:
            return self._free(folder)
        except OSError:
            return 1 << 62

    def enough(self, folder: Path, need: int) -> bool:
        return self.free(folder) >= need

    def wait_for(self, folder: Path, need: int) -> None:
        """Close the gate until `need` bytes are free."""
        self._waiting = (folder, need, self._clock())
        self._gate.close(
            TOPIC, f"the disk of {folder} is full: less than {need / 1e6:.0f} MB are free"
        )

    def look(self) -> None:
        """Open the gate if there is room again."""
        if self._waiting is None:
            return
        folder, need, since = self._waiting
        if self.enough(folder, need) or self._clock() - since > LONGEST_S:
            self._waiting = None
            self._gate.open(TOPIC)
