"""Patches to patches that know what the frames around them show."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.vision.places import Places

LARGEST = 512_000_000
"""Bytes that places may take before they are settled: huge ones do not look all the way ahead."""

CATCH_UP = 2
"""Frames that go on for each that comes where no mark is any more."""


class Temporal:
    """A window sliding over the clip in which fills give way to true pixels of other frames.

    Frames wait until `window` of them are there; then the places in them are filtered backwards,
    and the older half of them is settled. They go on one by one as others come, for a burst of
    them would wait for room, and everything before with it.

    Args:
        window: frames that are looked ahead, at most; 0 leaves the fills as they are.
        max_cap: most frames taken at a time.
        keeps: whether frames keep their pictures; else they let go of them when they have been
            looked at, and `Redecode` gives them back.
    """

    name = "temporal"

    def __init__(self, clip: ClipInfo, window: int, max_cap: int, *, keeps: bool = True) -> None:
        self._window = window
        self._keeps = keeps
        self._waiting: deque[Frame] = deque()
        self._settled: deque[Frame] = deque()
        self._places = Places(clip)
        self.held = window
        self.max_cap = max_cap

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        if not self._window:
            return list(batch)
        out: list[Frame] = []
        for frame in batch:
            before = self._waiting[-1] if self._waiting else None
            self._places.see(frame, before)
            if before is not None:
                self._let_go(before)
            self._waiting.append(frame)
            if not self._places.open:
                self._settle(len(self._waiting) - 1)
                due = CATCH_UP
            else:
                if len(self._waiting) > self._window:
                    self._settle(len(self._waiting) - self._window // 2)
                elif self._places.size > LARGEST:
                    self._settle(len(self._waiting) - len(self._waiting) // 2)
                due = len(self._waiting) + len(self._settled) - self._window
            out += [self._settled.popleft() for _ in range(min(due, len(self._settled)))]
        return out

    def flush(self) -> list[Frame]:
        self._settle(len(self._waiting))
        out, self._settled = list(self._settled), deque()
        return out

    def close(self) -> None:
        self._waiting.clear()
        self._settled.clear()
        self._places.clear()

    def _let_go(self, frame: Frame) -> None:
        """Of what nobody looks at any more."""
        frame.patches = [replace(patch, variance=None) for patch in frame.patches]
        if not self._keeps:
            del frame.picture

    def _settle(self, count: int) -> None:
        """Decide the patches of the oldest frames that wait."""
        if count > 0:
            frames = [self._waiting.popleft() for _ in range(count)]
            self._places.settle(frames)
            self._settled += frames
