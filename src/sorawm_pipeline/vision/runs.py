"""Runs: one mark in one place over consecutive frames, as reports list them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sorawm_pipeline.media.frame import Box, Mark
from sorawm_pipeline.vision.tracks import match


@dataclass(slots=True)
class Run:
    """A mark from `first_frame` to `last_frame`, both included.

    Attributes:
        box: the smallest box around all of its boxes, stored-picture pixels.
        confidence: mean over its frames.
        filled_frames: frames in which no detector saw it.
        given: whether the user named its place.
    """

    first_frame: int
    last_frame: int
    box: Box
    confidence: float
    filled_frames: int
    last: Mark = field(repr=False)

    @property
    def given(self) -> bool:
        return self.last.given

    @property
    def frames(self) -> int:
        return self.last_frame - self.first_frame + 1

    def extend(self, mark: Mark) -> None:
        self.confidence += (mark.confidence - self.confidence) / (self.frames + 1)
        self.last_frame += 1
        self.box = self.box.union(mark.box)
        self.filled_frames += mark.filled
        self.last = mark


class Runs:
    """Collects runs while marks stream past."""

    def __init__(self) -> None:
        self.finished: list[Run] = []
        self.marked_frames = 0
        self._open: list[Run] = []

    def add(self, index: int, marks: Sequence[Mark]) -> None:
        """Take the marks of the next frame."""
        self.marked_frames += bool(marks)
        left = list(marks)
        still_open = []
        for run in self._open:
            found = match(run.last.box, left)
            if found is None:
                self.finished.append(run)
            else:
                left.remove(found)
                run.extend(found)
                still_open.append(run)
        new = [Run(index, index, m.box, m.confidence, int(m.filled), m) for m in left]
        self._open = still_open + new

    def all(self) -> list[Run]:
        """Every run so far, by first frame and place."""
        return sorted(
            self.finished + self._open, key=lambda run: (run.first_frame, run.box.as_tuple())
        )
