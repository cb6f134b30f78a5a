"""Frames to what is known of their marks; where a part of a clip ends, all that goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.snapshot import dumped
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.vision.tracks import Marks


class Find:
    """Ends a corridor that only looks, so that another one can go on where it stopped.

    Args:
        detect: new, or with the state that an earlier part left.
        goal: index of the frame from which on it stops as soon as it can; None: at the clip's end.
        stop: called when it does; frames that come afterwards are let go.

    Attributes:
        marks: of each frame since the last that an earlier part told of, in order.
        state: snapshot of `detect` where it stopped; None at the clip's end.
        next_frame: index of the first frame that it has not taken.
    """

    name = "detect"

    def __init__(self, detect: Detect, goal: int | None, stop: Callable[[], None]) -> None:
        self._detect = detect
        self._goal = goal
        self._stop = stop
        self.held = detect.held
        self.max_cap = detect.max_cap
        self.marks: list[Marks] = []
        self.state: bytes | None = None
        self.next_frame = 0

    @property
    def frames_inferred(self) -> int:
        """Since the beginning of the clip."""
        return self._detect.frames_inferred

    def cap(self) -> int:
        return self._detect.cap()

    def open(self) -> None:
        self._detect.open()

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        before = [frame for frame in batch if self._goal is None or frame.index < self._goal]
        if before and self.state is None:
            self._take(before)
        for frame in batch[len(before) :]:
            if self.state is None:
                self._take([frame])
                if self._detect.settled:
                    self.state = dumped(self._detect)
                    self._stop()
        return []

    def flush(self) -> list[Frame]:
        if self.state is None:
            self.marks += [frame.marks for frame in self._detect.flush()]
        return []

    def close(self) -> None:
        self._detect.close()

    def _take(self, frames: Sequence[Frame]) -> None:
        self.marks += [frame.marks for frame in self._detect.process(frames)]
        self.next_frame = frames[-1].index + 1
