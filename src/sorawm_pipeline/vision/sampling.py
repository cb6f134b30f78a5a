"""Looking at few frames, and concluding what the others hold.

A detector looks at every k-th frame. Between two looks that agree, the frames are checked for the
overlay's edges, which takes a small part of a look; where they disagree, the frame of the change is
found from the edges if they leave no doubt, and by bisection with more looks if they do. A place
that changed suddenly and that nothing explains is looked at as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from sorawm_pipeline.media.frame import Box, Mark, Plane
from sorawm_pipeline.vision.between import (
    STILL_THERE,
    Span,
    Story,
    Track,
    take_linked,
    told_story,
    unfilled,
)
from sorawm_pipeline.vision.novelty import Novelty, Surprise
from sorawm_pipeline.vision.overlay import MARGIN, Overlay, Region
from sorawm_pipeline.vision.repeats import SAME_PLACE, Repeats, differ
from sorawm_pipeline.vision.tracks import Marks, confirms

Look: TypeAlias = Callable[[Sequence[int]], list[Marks]]
Luma: TypeAlias = Callable[[int], Plane]

UNMARKED_STRIDE = 8
"""Frames from one look to the next where no mark is known: one that shows for as many is seen."""

SHORTEST_STRIDE = 4
"""Frames from one look to the next, at least, however much changes."""

SHORTEST_MARK = 3
"""Frames that something must stay to be looked at between two regular looks."""

STOOD = 0.5
"""Gap between levels with and without edges from which they stood for those frames only."""

WORTH = 0.75
"""Share of the confidence to believe from, from which a sighting is worth more looks."""

BEGIN = 0.5
"""Share of the confidence to believe from, below which a sighting begins no run."""

LINGER = 12
"""Frames after a doubtful sighting over a moving scene in which every frame is looked at."""

PROBE = 3
"""Frames from one look to the next where a doubtful sighting is checked beside a sure mark."""

TROUBLE = 2
"""More looks than this between two regular ones, and the stride is halved."""

GONE = 0.3
"""Level of every part of an overlay below which nothing of it is there."""


class Settled(NamedTuple):
    """What a frame holds.

    Attributes:
        marks: its sightings.
        gone: places of marks that were there shortly before, and of which its pixels show nothing.
    """

    marks: Marks
    gone: list[Box]


class Sampler:
    """Decides which frames to look at; frames are settled in order, several at a time.

    For each frame call `push`; what it says is due goes, as soon as may be, through `look_at`
    (several frames at once if they are there) and then, in order, through `settle`.

    Args:
        look: gives the sightings of frames by their index.
        luma: the luma plane (h, w) of a frame that is not settled yet, by its index.
        depth: bits per sample of the planes.
        stride: most frames from one look to the next; 1 looks at every frame.
        believe: confidence from which a sighting is believed.
        gap: frames, after a mark went, for which its place is told to be without it.
    """

    STATE = (
        "_novelty",
        "_repeats",
        "_stride",
        "_doubted",
        "_due",
        "_settled",
        "_before",
        "_tracks",
        "_left",
        "_seen",
    )

    def __init__(
        self, look: Look, luma: Luma, depth: int, stride: int, believe: float, gap: int
    ) -> None:
        self._look = look
        self._luma = luma
        self._depth = depth
        self._longest = stride
        self._stride = min(stride, UNMARKED_STRIDE)
        self._believe = believe
        self._gap = gap
        self._novelty = Novelty(depth)
        self._repeats = Repeats(depth, BEGIN * believe, believe)
        self._doubted = -LINGER - 1
        self._due = 0
        self._settled = -1
        self._before: Plane | None = None
        self._tracks: list[Track] = []
        self._left: list[tuple[Overlay, int]] = []
        self._seen: dict[int, Marks] = {}

    def push(self, index: int) -> bool:
        """Take the next frame; True if it is due to be looked at and settled."""
        if self._longest > 1:
            self._novelty.push(index, self._luma(index))
        if index < self._due:
            return False
        self._due = index + self._stride
        return True

    def look_at(self, indices: Sequence[int]) -> None:
        """Look at frames that are due, in one call."""
        unseen = [index for index in indices if index not in self._seen]
        if unseen:
            for index, marks in zip(unseen, self._look(unseen), strict=True):
                self._seen[index] = self._repeats.judged(index, self._luma(index), marks)

    def settle(self, upto: int) -> list[Settled]:
        """What every frame after the last settled one holds, `upto` included."""
        settled: list[Settled] = []
        looks = 0
        self.look_at([upto])
        if self._in_doubt(upto):
            goals = list(range(upto, self._settled, -1))
            self.look_at(goals[::-1])
        else:
            goals = [upto, *self._surprising(upto)]
        while goals:
            self.look_at([goals[-1]])
            more = self._explain(goals[-1], settled)
            if more is None:
                goals.pop()
            else:
                goals.append(more)
                looks += 1
        self._adapt(looks)
        self._due = upto + self._stride
        return settled

    def _adapt(self, looks: int) -> None:
        if not self._tracks:
            self._stride = min(self._longest, UNMARKED_STRIDE)
        elif looks > TROUBLE:
            self._stride = max(min(SHORTEST_STRIDE, self._longest), self._stride // 2)
        else:
            self._stride = min(self._longest, 2 * self._stride)

    def _in_doubt(self, upto: int) -> bool:
        """Whether what was seen lately is doubtful, and more looks would tell more.

        They tell nothing new where the picture stands still, or of a mark that is known for sure.
        Beside such a mark, what is not seen again at a few looks is clutter.
        """
        now = self._luma(upto)
        before = now if self._before is None else self._before
        sure = [track.mark.box for track in self._tracks if track.best >= self._believe]
        for mark in self._seen[upto]:
            # What repeats made believable is exactly as sure as needed: it takes looks on and on.
            if not BEGIN * self._believe <= mark.confidence <= self._believe:
                continue
            if any(confirms(mark.box, box) for box in sure):
                continue
            region = Region.around(mark.box, now, self._depth)
            if not differ(region.grey(before), region.grey(now)):
                continue
            if not sure or self._is_seen_again(mark.box, upto):
                self._doubted = upto
        return upto - self._doubted <= LINGER

    def _is_seen_again(self, place: Box, upto: int) -> bool:
        """Whether a few looks before `upto` show something in a place."""
        few = range(upto - PROBE, self._settled, -PROBE)
        self.look_at(few[::-1])
        return any(
            mark.confidence >= BEGIN * self._believe and mark.box.iou(place) >= SAME_PLACE
            for index in few
            for mark in self._seen[index]
        )

    def _surprising(self, upto: int) -> list[int]:
        """The frames at the most sudden change before `upto` that no known mark explains.

        None where no mark is known: looks are close enough there.
        """
        known = [mark.box for mark in self._seen[upto]] + [t.mark.box for t in self._tracks]
        surprises = self._novelty.take(upto, [box.grown(2 * MARGIN) for box in known])
        if not self._tracks:
            return []
        for surprise in surprises:
            if not self._settled < surprise.frame < upto:
                continue
            if surprise.cut:
                return [surprise.frame]
            if frames := self._short_stay(surprise, upto):
                return frames
        return []

    def _short_stay(self, surprise: Surprise, upto: int) -> list[int]:
        """The frames to look at if edges that came or went with the surprise stood still meanwhile.

        What came and is still there at `upto` is seen there, and so is what went but was there at
        the last look. Both, the later one first, if edges came and others went: one of them are
        what a mark covers.
        """
        at, reach = surprise.frame, SHORTEST_MARK
        after = range(at, at + reach)
        before = range(at - 1, at - 1 - reach, -1)
        came = self._stood(surprise.box, after, before[0]) if after[-1] < upto else 0.0
        went = self._stood(surprise.box, before, after[0]) if before[-1] > self._settled else 0.0
        return [frame for frame, gap in ((at, came), (at - 1, went)) if gap >= STOOD]

    def _stood(self, place: Box, frames: Sequence[int], without: int) -> float:
        """By how much edges in all of `frames` exceed what the frame `without` them holds."""
        lumas = [self._luma(index) for index in frames]
        region = Region.around(place, lumas[0], self._depth)
        overlay = Overlay(region, region.edges(lumas[len(lumas) // 2]))
        absent = self._before if without == self._settled else self._luma(without)
        if absent is None or not overlay.parts:
            return 0.0
        lowest = np.min([overlay.levels(region.edges(luma)) for luma in lumas], axis=0)
        gaps = np.where(lowest >= STILL_THERE, lowest - overlay.levels(region.edges(absent)), 0.0)
        return float(gaps.max())

    def _explain(self, goal: int, settled: list[Settled]) -> int | None:
        """Settle the frames up to `goal`, which was looked at, or name a frame to look at first."""
        lumas = [self._luma(index) for index in range(self._settled + 1, goal + 1)]
        span = Span(self._before, lumas, self._depth)
        sightings = list(self._seen[goal])
        cases: list[tuple[Track | None, Mark | None]] = [
            (track, take_linked(track.mark.box, sightings)) for track in self._tracks
        ]
        faint = [mark for mark in sightings if mark.confidence < BEGIN * self._believe]
        cases += [(None, mark) for mark in sightings if mark not in faint]
        stories = [Story([*[None] * (span.frames - 1), mark], None) for mark in faint]
        for track, mark in cases:
            story = told_story(track, mark, span, self._longest, jumped=len(sightings) > len(faint))
            if isinstance(story, int):
                best = max(track.best if track else 0.0, mark.confidence if mark else 0.0)
                if best >= WORTH * self._believe and span.frames > 1:
                    return self._settled + 1 + story
                story = unfilled(track, mark, span)
            stories.append(story)
        told = [
            [mark for story in stories if (mark := story.marks[offset]) is not None]
            for offset in range(len(lumas))
        ]
        if (unwatched := _unwatched(told)) is not None:
            return self._settled + 1 + unwatched
        after = [story.track for story in stories[len(faint) :]]
        for (track, _), now in zip(cases, after, strict=True):
            if track is not None and now is None:
                self._leave(track.overlay, span, goal + self._gap)
        settled += [Settled(marks, self._gone(span, n)) for n, marks in enumerate(told, start=1)]
        self._tracks = [track for track in after if track is not None]
        self._left = [
            (overlay, last)
            for overlay, last in self._left
            if last > goal and not any(confirms(overlay.region.box, m.box) for m in told[-1])
        ]
        self._before = lumas[-1].copy()
        self._settled = goal
        self._seen = {index: seen for index, seen in self._seen.items() if index > goal}
        return None

    def _leave(self, overlay: Overlay, span: Span, until: int) -> None:
        """Watch the place of a mark that is not seen any more, if pixels say as well that it went.

        A detector that overlooks it says nothing about its pixels.
        """
        if overlay.parts and span.levels(overlay)[-1].max() < STILL_THERE:
            without = span.edges(overlay.region, span.frames)
            self._left.append((overlay.less(without), until))

    def _gone(self, span: Span, place: int) -> list[Box]:
        """Where nothing is left of a mark that went, `place` frames after the last settled one."""
        return [
            overlay.region.box
            for overlay, _ in self._left
            if overlay.parts and span.levels(overlay)[place].max() < GONE
        ]


def _unwatched(told: Sequence[Marks]) -> int | None:
    """The middle of the first frames without marks that are too many to be left unseen.

    The last of `told` was looked at, and so was the frame before the first.
    """
    empty = 0
    for offset, marks in enumerate(told[:-1]):
        empty = 0 if marks else empty + 1
        if empty == UNMARKED_STRIDE:
            return offset - UNMARKED_STRIDE // 2
    return None
