"""What one mark did between two looks of the detector, told from the edges of its overlay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Mark, Plane
from sorawm_pipeline.snapshot import value
from sorawm_pipeline.vision.overlay import MARGIN, Floats, Overlay, Region
from sorawm_pipeline.vision.tracks import Marks, confirms

STILL_THERE = 0.6
"""Share of an overlay's level at both ends from which it is there in between."""

CHANGE = 0.3
"""Gap between levels with and without an overlay from which the frame of a change is certain."""

QUIET = 0.03
"""Mean change of the level, where there is no overlay, up to which its edge in time is certain."""

WANING = 0.85
"""Share of its usual level below which the last frame of an overlay may hold only part of it."""

FADED = 0.1
"""Level, above that of frames without it, down to which a fading overlay is there."""

CARRIED = 0.8
"""Share of its level from which an overlay is there although the detector does not see it."""

NEW_SCENE = 16.0
"""Root mean square change, in 8-bit steps, from which the surroundings of a mark are new."""

GROWN = 1.4
"""Ratio of areas from which two boxes of one mark show different parts of it."""

LEARN_EVERY = 4
"""Of the frames that hold a mark by its edges, as many are skipped between two to learn from."""


@value
@dataclass(frozen=True, slots=True)
class Track:
    """A mark that is there at the last settled frame.

    Attributes:
        overlay: its edges.
        mark: as it was last seen or concluded.
        looks: how often the detector saw it.
        unseen: frames since the detector last saw it.
        best: its highest confidence so far.
    """

    overlay: Overlay
    mark: Mark
    looks: int = 1
    unseen: int = 0
    best: float = 0.0


@dataclass(frozen=True, slots=True)
class Story:
    """What one mark did from the last settled frame (excluded) to the next look (included)."""

    marks: list[Mark | None]
    track: Track | None


class Span:
    """The luma planes from the last settled frame to the next look, both included."""

    def __init__(self, before: Plane | None, lumas: Sequence[Plane], depth: int) -> None:
        self._lumas = [lumas[0] if before is None else before, *lumas]
        self._depth = depth
        self._edges: dict[tuple[Region, int], Floats] = {}
        self._levels: dict[Overlay, Floats] = {}
        self.frames = len(lumas)
        self.middle = (len(lumas) - 1) // 2

    def overlay(self, mark: Box) -> Overlay:
        """What the last frame shows of a mark."""
        region = Region.around(mark, self._lumas[-1], self._depth)
        return Overlay(region, self.edges(region, self.frames))

    def edges(self, region: Region, place: int) -> Floats:
        """Edges of the frame `place` frames after the last settled one."""
        key = region, place
        if key not in self._edges:
            self._edges[key] = region.edges(self._lumas[place])
        return self._edges[key]

    def levels(self, overlay: Overlay) -> Floats:
        """How much of each part each frame holds, (frames + 1, parts)."""
        if overlay not in self._levels:
            places = range(self.frames + 1)
            rows = [overlay.levels(self.edges(overlay.region, place)) for place in places]
            self._levels[overlay] = np.stack(rows)
        return self._levels[overlay]

    def scene_changed(self, mark: Box, place: int) -> bool:
        """Whether the surroundings of a mark differ from those in the frame before."""
        height, width = self._lumas[place].shape
        inner, outer = (mark.grown(n * MARGIN).clipped(width, height) for n in (1, 2))
        ring = np.ones((outer.height, outer.width), np.bool_)
        ring[inner.within(outer)] = False
        part = outer.within(Box(0, 0, width, height))
        one, other = (self._lumas[n][part].astype(np.float32) for n in (place - 1, place))
        change = (one - other)[ring] * 2.0 ** (8 - self._depth)
        return change.size > 0 and float(np.sqrt(np.mean(change**2))) >= NEW_SCENE

    def learnt(self, overlay: Overlay, whole: Sequence[bool]) -> Overlay:
        """What is known of an overlay after the frames that hold all of it."""
        places = [place for place, there in enumerate(whole, start=1) if there]
        for place in places[::-LEARN_EVERY]:
            overlay = overlay.after(self.edges(overlay.region, place))
        return overlay


def take_linked(box: Box, sightings: Marks) -> Mark | None:
    """Remove and return the sighting that shows the mark last seen at `box`, or part of it."""
    linked = [mark for mark in sightings if confirms(mark.box, box)]
    if not linked:
        return None
    best = max(linked, key=lambda mark: mark.box.shared(box))
    sightings.remove(best)
    return best


def unfilled(track: Track | None, mark: Mark | None, span: Span) -> Story:
    """Nothing is concluded for the frames in between."""
    marks: list[Mark | None] = [None] * (span.frames - 1)
    if mark is None:
        return Story([*marks, None], None)
    if track is not None and confirms(track.overlay.region.box, mark.box):
        best = max(track.best, mark.confidence)
        seen = Track(track.overlay, mark, track.looks + 1, best=best)
        return Story([*marks, mark], seen)
    return Story([*marks, mark], Track(span.overlay(mark.box), mark, best=mark.confidence))


def told_story(
    track: Track | None, mark: Mark | None, span: Span, longest: int, *, jumped: bool
) -> Story | int:
    """What became of a track, what a sighting came from, or both; or the offset to look at first.

    A mark that is not seen may be carried on for `longest` frames, unless the last frame shows one
    that belongs to no track (`jumped`).
    """
    if track is None:
        assert mark is not None
        return _begun(mark, span)
    if mark is None:
        return _ended(track, span, longest, jumped=jumped)
    return _kept(track, mark, span)


def _kept(track: Track, mark: Mark, span: Span) -> Story | int:
    """A mark seen at both ends; an offset to look at if it may have been away in between."""
    overlay = track.overlay
    grown = mark.box.area > GROWN * track.mark.box.area
    if grown and mark.box.shared(overlay.region.box) < 0.9 * mark.box.area:
        overlay = span.overlay(mark.box)
    there = _presence(overlay, span, track.mark.box, mark.box)
    if isinstance(there, int):
        return there
    areas = sorted((track.mark.box.area, mark.box.area))
    if areas[1] > GROWN * areas[0] and (there[0] == there[-1]).all():
        return span.middle  # it changed its shape, and its parts do not tell when
    best = max(track.best, mark.confidence)
    marks = _concluded(overlay, there, track.mark, mark, best)
    overlay = span.learnt(overlay, [bool(row.all()) for row in there[1:]])
    after = Track(overlay, mark, track.looks + 1, 0, best)
    return Story([*marks, mark], after)


def _ended(track: Track, span: Span, longest: int, *, jumped: bool) -> Story | int:
    """A mark that the next look does not show: gone, or overlooked."""
    overlay = track.overlay
    levels = span.levels(overlay)
    still = levels.size > 0 and bool((levels >= CARRIED * np.minimum(levels[0], 1.0)).all())
    unseen = track.unseen + span.frames
    if still and track.looks > 1 and unseen <= longest and not jumped:
        concluded = replace(track.mark, filled=True)
        return Story([concluded] * span.frames, replace(track, unseen=unseen))
    there = _presence(overlay, span, track.mark.box, None)
    if isinstance(there, int):
        return there
    return Story([*_concluded(overlay, there, track.mark, None, track.best), None], None)


def _begun(mark: Mark, span: Span) -> Story | int:
    """A mark that the last look did not show."""
    overlay = span.overlay(mark.box)
    there = _presence(overlay, span, None, mark.box)
    if isinstance(there, int):
        return there
    first = int(np.argmax(there.any(axis=1)))
    if first > 1 and span.scene_changed(mark.box, first):
        return first - 2  # what came with a new scene may be the scene's
    marks = _concluded(overlay, there, None, mark, mark.confidence)
    overlay = span.learnt(overlay, [bool(row.all()) for row in there[1:-1]])
    return Story([*marks, mark], Track(overlay, mark, best=mark.confidence))


def _presence(
    overlay: Overlay, span: Span, first: Box | None, last: Box | None
) -> NDArray[np.bool_] | int:
    """Which parts each frame holds, (frames + 1, parts); or the frame, from 0, to look at.

    `first` and `last` are the mark's boxes at both ends, None where it is not there.
    """
    if not overlay.parts:
        both = first is not None and last is not None
        return np.ones((span.frames + 1, 1), np.bool_) if both else span.middle
    levels = span.levels(overlay)
    there = np.zeros(levels.shape, np.bool_)
    lasting: list[NDArray[np.float32]] = []
    for number, part in enumerate(overlay.parts):
        at_first, at_last = (_holds(box, part.box) for box in (first, last))
        line = levels[:, number]
        if at_first and at_last:
            there[:, number] = True
            lasting.append(line / max(1e-3, min(line[0], line[-1], 1.0)))
        elif at_first or at_last:
            steps, certain = _changed(line if at_first else line[::-1])
            if not certain and span.frames > 1:
                guess = steps if at_first else span.frames - steps
                return min(max(guess, 1), span.frames - 1) - 1
            there[:steps, number] = True
            if at_last:
                there[:, number] = there[::-1, number]
    ends = [row for box, row in ((first, there[0]), (last, there[-1])) if box is not None]
    if not all(row.any() for row in ends):
        return span.middle
    # Of a mark that is animated one part stands still: it vouches for the others.
    surest = max(lasting, key=lambda line: line.min(), default=np.ones(1))
    if span.frames > 1 and surest.min() < STILL_THERE:
        return int(np.argmin(surest[1:-1]))
    return there


def _changed(line: NDArray[np.float32]) -> tuple[int, bool]:
    """How many frames from the first hold what the last does not, and whether that is certain.

    The frames in which it fades count: they hold it as far as it stands out from the noise.
    """
    lowest = np.minimum.accumulate(line)[:-1]
    highest = np.maximum.accumulate(line[::-1])[::-1][1:]
    gaps = lowest - highest
    steps = int(np.argmax(gaps)) + 1
    without = line[steps:]
    usual = float(np.median(without))
    noise = float(np.percentile(np.abs(without - usual), 80))
    certain = bool(gaps[steps - 1] >= CHANGE) and noise <= QUIET
    if line[steps - 1] < WANING * float(np.median(line[:steps])):
        return steps - 1 or 1, False  # what is left of it there is another shape
    while steps < len(line) - 1 and line[steps] > usual + max(FADED, 4 * noise):
        steps += 1
    return steps, certain


def _holds(box: Box | None, part: Box) -> bool:
    if box is None:
        return False
    return box.grown(MARGIN // 2).shared(part) >= 0.7 * min(part.area, box.area)


def _concluded(
    overlay: Overlay,
    there: NDArray[np.bool_],
    first: Mark | None,
    last: Mark | None,
    confidence: float,
) -> list[Mark | None]:
    """The marks of the frames strictly between both ends, from the parts that they hold."""
    ends = [(mark, row) for mark, row in ((first, there[0]), (last, there[-1])) if mark is not None]
    whole = ends[0][0].box.union(ends[-1][0].box)
    marks: list[Mark | None] = []
    for row in there[1:-1]:
        alike = [mark.box for mark, end in ends if (end == row).all()]
        if not row.any():
            marks.append(None)
            continue
        if alike:
            corners = zip(*(box.as_tuple() for box in alike), strict=True)
            x0, y0, x1, y1 = (round(sum(corner) / len(alike)) for corner in corners)
            box = Box(x0, y0, x1, y1)
        else:
            boxes = [part.box for part, held in zip(overlay.parts, row, strict=True) if held]
            box = boxes[0]
            for other in boxes[1:]:
                box = box.union(other)
            box = box.intersection(whole)
        marks.append(Mark(box, confidence, filled=True))
    return marks
