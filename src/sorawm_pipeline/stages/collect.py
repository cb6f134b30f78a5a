"""Where `detect` ends: marks are written down instead of encoded."""

from __future__ import annotations

from collections.abc import Sequence

from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.report import FrameMark, FrameMarks


class Collect:
    """Keeps what the report says of each frame, and lets the frame go."""

    name = "collect"
    held = 0

    def __init__(self, display: Display, max_cap: int) -> None:
        self._display = display
        self.max_cap = max_cap
        self.frames: list[FrameMarks] = []

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        self.frames += [self._entry(frame) for frame in batch]
        return []

    def flush(self) -> list[Frame]:
        return []

    def close(self) -> None:
        pass

    def _entry(self, frame: Frame) -> FrameMarks:
        marks = tuple(
            FrameMark(
                box=self._display.to_shown(mark.box).as_tuple(),
                confidence=mark.confidence,
                origin="given" if mark.given else "filled" if mark.filled else "inferred",
            )
            for mark in frame.marks
        )
        return FrameMarks(index=frame.index, pts=frame.pts, marks=marks)
