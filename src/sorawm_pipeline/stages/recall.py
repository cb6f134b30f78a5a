"""Frames to frames that know their marks, where these were found before."""

from __future__ import annotations

from collections.abc import Sequence

from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.vision.tracks import Marks


class Recall:
    """Gives each frame the marks that were found on it.

    Args:
        first: index of the first frame.
        marks: of that frame and those after it.
    """

    name = "recall"
    held = 0

    def __init__(self, first: int, marks: Sequence[Marks], max_cap: int) -> None:
        self._first = first
        self._marks = marks
        self.max_cap = max_cap

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        for frame in batch:
            frame.marks = self._marks[frame.index - self._first]
        return list(batch)

    def flush(self) -> list[Frame]:
        return []

    def close(self) -> None:
        pass
