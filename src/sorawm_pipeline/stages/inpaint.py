"""Marks to patches."""

from __future__ import annotations

from collections.abc import Sequence

from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Box, Frame, Mark, Mask, Patch
from sorawm_pipeline.media.patch import cut
from sorawm_pipeline.vision.restore import Hole, Inpainter


class Inpaint:
    """Fills every mark of every frame in the batch, region by region.

    Args:
        inpainter: None leaves the picture as it is.
        margin: pixels around a mark's box that are replaced too.
    """

    name = "inpaint"
    held = 0

    def __init__(
        self, clip: ClipInfo, inpainter: Inpainter | None, batch_cap: BatchCap, margin: int
    ) -> None:
        self._clip = clip
        self._inpainter = inpainter
        self._batch_cap = batch_cap
        self._margin = margin
        self._holes: dict[tuple[Box, Mask | None, tuple[Box, ...]], Hole] = {}
        self.max_cap = batch_cap.max_cap

    def cap(self) -> int:
        return self._batch_cap.cap()

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        if self._inpainter is not None:
            self._batch_cap.run(self._restore, batch)
            self._forget_old_holes(batch)
        return list(batch)

    def flush(self) -> list[Frame]:
        return []

    def close(self) -> None:
        self._holes.clear()

    def _restore(self, frames: Sequence[Frame]) -> list[Frame]:
        for frame in frames:
            frame.patches = [self._patch(frame, mark) for mark in frame.marks]
        return list(frames)

    def _patch(self, frame: Frame, mark: Mark) -> Patch:
        assert self._inpainter is not None
        others = tuple(other.box for other in frame.marks if other.box != mark.box)
        key = mark.box, mark.mask, others
        hole = self._holes.get(key)
        if hole is None:
            clip = self._clip
            hole = Hole(*key, self._margin, clip.width, clip.height, clip.layout)
            self._holes[key] = hole
        region = cut(frame.picture, hole.box, self._clip.layout)
        return hole.patch(self._inpainter.fill(region, hole.masks))

    def _forget_old_holes(self, batch: Sequence[Frame]) -> None:
        current = {(mark.box, mark.mask) for frame in batch for mark in frame.marks}
        self._holes = {key: hole for key, hole in self._holes.items() if key[:2] in current}
