"""Marks to patches."""

from __future__ import annotations

from collections.abc import Sequence

from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Box, Frame, Mark, Mask, Patch
from sorawm_pipeline.media.patch import cut
from sorawm_pipeline.vision.restore import Hole, Inpainter, Region


class Inpaint:
    """Fills every mark of every frame, batched over frames and regions.

    Marked frames wait until there are as many as the inpainter likes to see together, or one
    without a mark comes. Of a longer queue whole groups are filled in one go, never a part of one
    with others, so that a result does not depend on how frames happened to queue up.

    Args:
        inpainter: None leaves the picture as it is.
        margin: pixels around a mark's box that are replaced too.
        behind: frames of the first group that lie before the first frame, so that groups are those
            of the whole clip.
    """

    name = "inpaint"

    def __init__(
        self,
        clip: ClipInfo,
        inpainter: Inpainter | None,
        batch_cap: BatchCap,
        margin: int,
        behind: int = 0,
    ) -> None:
        self._clip = clip
        self.inpainter = inpainter
        self._batch_cap = batch_cap
        self._margin = margin
        self._behind = behind
        self._holes: dict[tuple[Box, Mask | None, tuple[Box, ...]], Hole] = {}
        self._waiting: list[Frame] = []
        self.held = self.held_for(inpainter)
        self.max_cap = batch_cap.max_cap

    @staticmethod
    def held_for(inpainter: Inpainter | None) -> int:
        """Frames that wait inside between two calls, at most."""
        return 0 if inpainter is None else inpainter.together - 1

    def cap(self) -> int:
        return self._batch_cap.cap()

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        if self.inpainter is None:
            return list(batch)
        out: list[Frame] = []
        for frame in batch:
            if frame.marks:
                self._waiting.append(frame)
            else:
                out += self.flush()
                out.append(frame)
        return out + self._groups()

    def flush(self) -> list[Frame]:
        left = self._groups()
        self._behind = 0
        return left + self._filled_first(len(self._waiting))

    def _groups(self) -> list[Frame]:
        """The waiting frames that make up whole groups, filled."""
        together = 1 if self.inpainter is None else self.inpainter.together
        count = (len(self._waiting) + self._behind) // together * together - self._behind
        if count <= 0:
            return []
        self._behind = 0
        return self._filled_first(count)

    def _filled_first(self, count: int) -> list[Frame]:
        """The first of the waiting frames, filled."""
        frames, self._waiting = self._waiting[:count], self._waiting[count:]
        regions = [self._region(frame, mark) for frame in frames for mark in frame.marks]
        patches = iter(self._batch_cap.run(self._filled, regions))
        for frame in frames:
            frame.patches = [next(patches) for _ in frame.marks]
        self._forget_old_holes(frames)
        return frames

    def close(self) -> None:
        self._waiting.clear()
        self._holes.clear()

    def _filled(self, regions: Sequence[Region]) -> list[Patch]:
        assert self.inpainter is not None
        return self.inpainter.fill(regions)

    def _region(self, frame: Frame, mark: Mark) -> Region:
        others = tuple(other.box for other in frame.marks if other.box != mark.box)
        key = mark.box, mark.mask, others
        hole = self._holes.get(key)
        if hole is None:
            clip = self._clip
            size = clip.width, clip.height
            assert self.inpainter is not None
            hole = Hole(*key, self._margin, *size, clip.layout, self.inpainter.context)
            self._holes[key] = hole
        return Region(frame.index, hole, cut(frame.picture, hole.box, self._clip.layout))

    def _forget_old_holes(self, frames: Sequence[Frame]) -> None:
        current = {(mark.box, mark.mask) for frame in frames for mark in frame.marks}
        self._holes = {key: hole for key, hole in self._holes.items() if key[:2] in current}
