"""Places that hold a mark, followed from the frame before it to the frame after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Box, Frame, Patch, Plane
from sorawm_pipeline.media.patch import cut
from sorawm_pipeline.media.planes import rounded_like
from sorawm_pipeline.vision.alignment import Movement, farthest, inverse, joined, standing
from sorawm_pipeline.vision.propagate import (
    BLIND,
    KNOWN,
    STILL,
    Sight,
    View,
    combined,
    expected,
    moved,
    updated,
)
from sorawm_pipeline.vision.ring import Floats, Ring

PER_PIXEL = 20
"""Bytes of a moment for each pixel of its place: luma, chroma and variance, twice, in floats."""

AROUND = 8
"""Pixels around a patch that are followed too: motion brings them under the mark."""


@dataclass(slots=True)
class _Moment:
    """One frame of a place.

    Attributes:
        index: of the frame.
        sight: what it shows, fills included.
        way: movement to the frame before; None if it stands, and in the first.
        carried: what the frames before make one expect; None in the first.
        patch: position among the frame's patches; None where no mark is.
    """

    index: int
    sight: View
    way: Movement | None = None
    carried: Sight | None = None
    patch: int | None = None


@dataclass(slots=True)
class _Place:
    """A region, followed.

    Attributes:
        estimate: of the region in the latest frame.
        ring: of the latest frame.
        last: movement between the latest two frames.
        due: movement that was too little to move the estimate by.
        closed: whether its mark is gone.
    """

    region: Box
    moments: list[_Moment] = field(default_factory=list)
    estimate: Sight | None = None
    ring: Ring | None = None
    last: Movement = field(default_factory=standing)
    due: Movement = field(default_factory=standing)
    closed: bool = False

    @property
    def waits(self) -> bool:
        """Whether its mark is still there, or a frame that held it is not settled yet."""
        return not self.closed or any(moment.patch is not None for moment in self.moments)

    def way_to(self, here: View, there: Sight) -> Movement | None:
        """The movement from the next sight to the estimate; None as long as it is too little."""
        self.last = moved(here, there, self.last)
        self.due = joined(self.last, self.due)
        if farthest(self.due, *here.luma.shape) < STILL:
            return None
        way, self.due = self.due, standing()
        return way


class Places:
    """Follows each marked place of a clip through the frames it is given, in order."""

    def __init__(self, clip: ClipInfo) -> None:
        self._clip = clip
        self._scale = np.float32(2.0 ** (8 - clip.layout.depth))
        self._places: list[_Place] = []

    @property
    def open(self) -> bool:
        """Whether frames to come may say more about those seen so far."""
        return any(not place.closed for place in self._places)

    @property
    def size(self) -> int:
        """Bytes that what is kept of all places takes, about."""
        return sum(PER_PIXEL * len(place.moments) * place.region.area for place in self._places)

    def clear(self) -> None:
        self._places.clear()

    def see(self, frame: Frame, before: Frame | None) -> None:
        """Take a frame's patches up; `before` is the frame before it, if it is still here."""
        taken: set[int] = set()
        for place in self._places:
            if place.closed:
                continue
            fits = (
                at
                for at, patch in enumerate(frame.patches)
                if at not in taken and patch.box.intersection(place.region) == patch.box
            )
            at = next(fits, None)
            if at is not None:
                taken.add(at)
            self._follow(place, frame, at)
            place.closed = at is None
        for at, patch in enumerate(frame.patches):
            if at in taken:
                continue
            around = patch.box.grown(AROUND).aligned(*self._clip.layout.even_steps)
            place = _Place(around.clipped(self._clip.width, self._clip.height))
            if self._places:
                place.last = self._places[-1].last
            self._places.append(place)
            if before is not None:
                self._follow(place, before, None)
            self._follow(place, frame, at)

    def settle(self, frames: Sequence[Frame]) -> None:
        """Decide the patches of the oldest frames, from all that was seen before and after."""
        last = frames[-1].index
        by_index = {frame.index: frame for frame in frames}
        for place in self._places:
            ahead: Sight | None = None
            for number in range(len(place.moments) - 1, -1, -1):
                moment = place.moments[number]
                if moment.index in by_index and moment.patch is not None:
                    sides = [side for side in (moment.carried, ahead) if side is not None]
                    frame = by_index[moment.index]
                    sight = combined(moment.sight, sides)
                    frame.patches[moment.patch] = self._patch(
                        place.region, frame.patches[moment.patch], sight
                    )
                if number:
                    ahead = self._back(moment, place.moments[number - 1], ahead)
            place.moments = [moment for moment in place.moments if moment.index > last]
        self._places = [place for place in self._places if place.waits]

    def _follow(self, place: _Place, frame: Frame, at: int | None) -> None:
        """Filter a place forward to its next frame."""
        moment = _Moment(frame.index, self._view(place, frame), patch=at)
        place.ring = moment.sight.ring
        if place.estimate is None:
            place.estimate = moment.sight
        else:
            moment.way = place.way_to(moment.sight, place.estimate)
            moment.carried = expected(place.estimate, moment.way, moment.sight)
            place.estimate = updated(moment.carried, moment.sight)
        place.moments.append(moment)

    def _back(self, moment: _Moment, before: _Moment, ahead: Sight | None) -> Sight:
        """What a moment and those after it make one expect in the moment before it."""
        estimate = moment.sight if ahead is None else updated(ahead, moment.sight)
        return expected(estimate, None if moment.way is None else inverse(moment.way), before.sight)

    def _view(self, place: _Place, frame: Frame) -> View:
        """A place as a frame shows it, with all of the frame's patches in it."""
        layout, region = self._clip.layout, place.region
        planes = list(cut(frame.picture, region, layout))
        variance = np.full(planes[0].shape, KNOWN, np.float32)
        for patch in frame.patches:
            shared = patch.box.intersection(region)
            if not shared.area:
                continue
            for index, plane in enumerate(planes):
                area = layout.plane_box(shared, index)
                target = area.within(layout.plane_box(region, index))
                source = area.within(layout.plane_box(patch.box, index))
                hidden = patch.alpha[index][source] > 0
                np.copyto(plane[target], patch.planes[index][source], where=hidden)
            own = patch.variance
            if own is None:
                own = np.where(patch.alpha[0] > 0, np.float32(BLIND), np.float32(KNOWN))
            there = variance[shared.within(region)]
            np.maximum(there, own[shared.within(patch.box)], out=there)
        ring = place.ring
        known = variance <= KNOWN
        if ring is None or not np.array_equal(known, ring.known):
            ring = Ring(known)
        luma, chroma = planes[0].astype(np.float32), _merged(planes[1:])
        luma *= self._scale
        chroma *= self._scale
        return View(luma, chroma, variance, ring)

    def _patch(self, region: Box, patch: Patch, sight: Sight) -> Patch:
        """The patch with what is now known of its place."""
        layout = self._clip.layout
        top = 2**layout.depth - 1
        planes: list[Plane] = []
        for index, plane in enumerate(patch.planes):
            area = layout.plane_box(patch.box, index).within(layout.plane_box(region, index))
            best = sight.luma if index == 0 else sight.chroma[..., index - 1]
            planes.append(rounded_like((best[area] / self._scale).clip(0, top), plane))
        return replace(patch, planes=tuple(planes))


def _merged(planes: Sequence[Plane]) -> Floats:
    """Planes (h, w) as one array (h, w, n); (1, 1, 0) if there are none."""
    if not planes:
        return np.zeros((1, 1, 0), np.float32)
    merged: Floats = cv2.merge(planes).astype(np.float32)
    return merged.reshape(*planes[0].shape, len(planes))
