"""Marks that need no finding: places that the user names, and what a verification found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.config import RegionConfig
from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.frame import Box, Mark, Mask
from sorawm_pipeline.vision.tracks import Marks, confirms

MOST_BYTES = 64 << 20
"""A mask file that is larger is refused before it is read."""


@dataclass(frozen=True, slots=True)
class _Region:
    """Marks from `start` to before `end`, in seconds since the first frame."""

    marks: tuple[Mark, ...]
    start: float
    end: float


class Regions:
    """The marks that are known beforehand.

    Args:
        regions: as configured, in pixels of the displayed picture.
        display: of the clip.
        time_base: seconds per tick of the clip.
        left: by frame index, marks that an earlier pass left behind, in stored-picture pixels.

    Raises:
        ConfigError: a box lies outside the picture, or a mask cannot be used.
    """

    STATE = ("_first",)

    def __init__(
        self,
        regions: Sequence[RegionConfig],
        display: Display,
        time_base: Fraction,
        left: Mapping[int, Marks] | None = None,
    ) -> None:
        self._regions = [_resolved(region, display) for region in regions]
        self._time_base = time_base
        self._left = left or {}
        self._first: int | None = None

    def added(self, index: int, pts: int, marks: Marks) -> Marks:
        """The marks of a frame, those known beforehand in the place of those found there."""
        if self._first is None:
            self._first = pts
        seconds = float((pts - self._first) * self._time_base)
        given = [
            mark
            for region in self._regions
            if region.start <= seconds < region.end
            for mark in region.marks
        ]
        marks = [
            mark
            for mark in marks
            if not any(mark.box.shared(g.box) >= 0.7 * mark.box.area for g in given)
        ]
        for mark in self._left.get(index, ()):
            # What shows again in a mark's place was not covered by its mask.
            same = next((m for m in marks if confirms(m.box, mark.box)), None)
            if same is None:
                marks.append(mark)
            else:
                marks.remove(same)
                marks.append(replace(same, box=same.box.union(mark.box), mask=None))
        return marks + given


def _resolved(region: RegionConfig, display: Display) -> _Region:
    end = float("inf") if region.to_s is None else region.to_s
    if region.mask is not None:
        return _Region(_marks_of(region.mask, display), region.from_s, end)
    assert region.box is not None
    shown = display.shown_width, display.shown_height
    box = display.to_stored_box(region.box, shown)
    if not box.area:
        raise ConfigError(
            f"detect.regions: the box {list(region.box)} lies outside the picture of "
            f"{shown[0]}x{shown[1]}"
        )
    return _Region((Mark(box, 1.0, given=True),), region.from_s, end)


def _marks_of(path: Path, display: Display) -> tuple[Mark, ...]:
    """One mark for each connected white (or, with alpha, opaque) piece of a mask picture."""
    covered = _mask_picture(path, display)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(covered, connectivity=8)
    marks = []
    for label in range(1, count):
        x, y, width, height = (int(value) for value in stats[label][:4])
        piece = (labels[y : y + height, x : x + width] == label).astype(np.uint8) * 255
        box = Box(x, y, x + width, y + height)
        marks.append(Mark(box, 1.0, given=True, mask=Mask(box, piece)))
    if not marks:
        raise ConfigError(f"detect.regions: the mask {path} covers nothing; paint it white")
    return tuple(marks)


def _mask_picture(path: Path, display: Display) -> NDArray[np.uint8]:
    """A mask in stored orientation and size, uint8 (h, w), 0 where nothing is covered."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"detect.regions: the mask {path} is larger than 64 MiB")
        raw = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except OSError as error:
        raise ConfigError(f"detect.regions: cannot read {path}: {error.strerror}") from error
    except cv2.error as error:
        raise ConfigError(f"detect.regions: {path} is not a picture that can be read") from error
    if raw is None:
        raise ConfigError(f"detect.regions: {path} is not a picture that can be read")
    shown = display.shown_width, display.shown_height
    if (raw.shape[1], raw.shape[0]) != shown:
        raise ConfigError(
            f"detect.regions: the mask {path} is {raw.shape[1]}x{raw.shape[0]}, the picture "
            f"{shown[0]}x{shown[1]}"
        )
    if raw.ndim == 3:
        raw = raw[..., 3] if raw.shape[2] == 4 else raw.max(axis=2)
    covered = (raw > np.iinfo(raw.dtype).max // 2).astype(np.uint8)
    covered = covered[:: -1 if display.flip_y else 1, :: -1 if display.flip_x else 1]
    if display.transpose:
        covered = covered.swapaxes(0, 1)
    size = display.width, display.height
    stored = cv2.resize(np.ascontiguousarray(covered), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(stored, np.uint8)
