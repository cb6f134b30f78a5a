"""Patches to patches that hold still."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sorawm_pipeline.media.frame import Frame, Patch
from sorawm_pipeline.vision.propagate import steadied
from sorawm_pipeline.vision.window import Lookaround


class Temporal:
    """A window sliding over the clip in which each fill is steadied by its neighbours'.

    Only patches are kept for frames that have gone on; whole frames wait for `window` later ones.

    Args:
        window: frames on either side that a fill is averaged with.
        depth: bits per sample of the planes.
        max_cap: most frames taken at a time.
    """

    name = "temporal"

    def __init__(self, window: int, depth: int, max_cap: int) -> None:
        self._depth = depth
        self._waiting: deque[Frame] = deque()
        self._around: Lookaround[list[Patch], list[Patch]] = Lookaround(window, self._steady)
        self.held = window
        self.max_cap = max_cap

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        self._waiting.extend(batch)
        return [out for frame in batch for out in self._released(self._around.push(frame.patches))]

    def flush(self) -> list[Frame]:
        return self._released(self._around.flush())

    def close(self) -> None:
        self._waiting.clear()

    def _released(self, decided: list[list[Patch]]) -> list[Frame]:
        frames = []
        for patches in decided:
            frame = self._waiting.popleft()
            frame.patches = patches
            frames.append(frame)
        return frames

    def _steady(self, window: Sequence[list[Patch]], here: int) -> list[Patch]:
        others = [patch for i, patches in enumerate(window) if i != here for patch in patches]
        return [steadied(patch, others, self._depth) for patch in window[here]]
