"""From what a detector saw on each frame to the marks that are really there.

Three passes run one behind the other over a sliding window, so that nothing needs the whole clip:

1. prune: a sighting that no other frame nearby confirms at the same place is an outlier, and a
   doubtful one counts only beside one that is believed (as in ByteTrack, Zhang et al., 2022);
2. fill: a frame without a mark between two frames that agree on one place has it too, unless its
   pixels say that the mark is gone, while two frames that disagree are the two sides of a jump,
   across which nothing is filled;
3. steady: a mark's box is the median over its run, and keeps still until that median moves. Where
   a run begins or ends with a part of the mark, that part is all there is; between whole ones it
   is a slip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from sorawm_pipeline.media.frame import Box, Mark
from sorawm_pipeline.vision.window import Lookaround

SAME_PLACE_IOU = 0.5
"""Two boxes that overlap at least this much are one mark in one place."""

SAME_MARK_COVER = 0.7
"""A box lying this much inside another confirms it: a mark can lose its word, or gain it."""

CONFIRM_WINDOW = 3
"""Frames on either side in which a sighting has to be confirmed."""

CONFIRMATIONS = 2
"""Frames that must confirm a sighting; a mark shown for three frames is believed."""

SURE = 2
"""Frames, itself among them, that must be sure of a sighting: one alone may be a slip."""

SIZES = 8
"""Sizes of believed marks that are remembered."""

ALIKE_SIZE = 0.15
"""Share by which width and height may differ from those of a believed mark."""

FAMILIAR = 0.6
"""Share of the confidence to believe from, from which a mark of a known size is believed."""

SAME_SHAPE_IOU = 0.65
"""Two boxes in one place that overlap less than this show different parts of the mark."""

STILL_PIXELS = 1
"""A box moves only when a corner's median has moved further than this."""

Marks = list[Mark]


class Tracks:
    """Decides the marks of each frame from the sightings around it.

    Feed every frame's sightings in order; `delay` frames later its marks come out, one list for
    each frame and in the same order.

    Args:
        believe: confidence, 0 to 1, from which a sighting is believed; those below are doubtful.
        window: frames on either side that steady a box; a gap of up to `2 * window - 1` frames is
            filled.
    """

    STATE = ("_passes",)

    def __init__(self, window: int, believe: float) -> None:
        self._fill = _Fill(longest_gap(window))
        self._passes = (
            Lookaround(CONFIRM_WINDOW, _Prune(believe)),
            Lookaround(longest_gap(window), self._fill),
            Lookaround(window, _Steady()),
        )

    @staticmethod
    def delay_for(window: int) -> int:
        """Frames by which the output lags behind the input until `flush`."""
        return CONFIRM_WINDOW + longest_gap(window) + window

    @property
    def delay(self) -> int:
        return sum(step.reach for step in self._passes)

    def push(self, sightings: Marks, gone: Sequence[Box] = ()) -> list[Marks]:
        """Take the next frame's sightings, and the places where its pixels show that none is."""
        self._fill.gone.append(gone)
        ready = [sightings]
        for step in self._passes:
            ready = [out for marks in ready for out in step.push(marks)]
        return ready

    def flush(self) -> list[Marks]:
        ready: list[Marks] = []
        for step in self._passes:
            ready = [out for marks in ready for out in step.push(marks)] + step.flush()
        return ready


def longest_gap(window: int) -> int:
    """The longest gap that is filled, and so how far both its ends may be from a frame in it."""
    return max(0, 2 * window - 1)


def match(box: Box, marks: Sequence[Mark]) -> Mark | None:
    """The mark in the same place as `box`, the best-overlapping one, or None."""
    return _best_match(box, marks)[0]


def _best_match(box: Box, marks: Sequence[Mark]) -> tuple[Mark | None, float]:
    """The mark in the same place as `box`, or None, and their IoU."""
    best, most = None, SAME_PLACE_IOU
    for mark in marks:
        iou = mark.box.iou(box)
        if iou >= most and (best is None or iou > most):
            best, most = mark, iou
    return best, most


class _Prune:
    """Drops what is not confirmed; remembers the sizes of the marks that were."""

    STATE = ("_sizes",)

    def __init__(self, believe: float) -> None:
        self._believe = believe
        self._sizes: deque[tuple[int, int]] = deque(maxlen=SIZES)

    def __call__(self, window: Sequence[Marks], here: int) -> Marks:
        others = list(window)
        del others[here]
        needed = min(CONFIRMATIONS, len(others))
        kept: Marks = []
        for mark in sorted(window[here], key=lambda mark: -mark.confidence):
            surest = [_surest(marks, mark.box) for marks in others]
            confirming = [one for one in surest if one is not None]
            sure = sum(self._sure(one) for one in (mark, *confirming))
            believed = sure >= min(SURE, len(window)) and len(confirming) >= needed
            if believed and match(mark.box, kept) is None:
                kept.append(mark)
                if mark.confidence >= self._believe:
                    self._remember(mark.box)
        return kept

    def _sure(self, mark: Mark) -> bool:
        if mark.confidence >= self._believe:
            return True
        return mark.confidence >= FAMILIAR * self._believe and self._is_known(mark.box)

    def _is_known(self, box: Box) -> bool:
        return any(
            max(abs(box.width - width) / width, abs(box.height - height) / height) <= ALIKE_SIZE
            for width, height in self._sizes
        )

    def _remember(self, box: Box) -> None:
        if not self._is_known(box):
            self._sizes.append((box.width, box.height))


def _surest(marks: Marks, box: Box) -> Mark | None:
    """The most confident of the marks that confirm `box`, or None."""
    best: Mark | None = None
    for mark in marks:
        if (best is None or mark.confidence > best.confidence) and confirms(mark.box, box):
            best = mark
    return best


def confirms(other: Box, box: Box) -> bool:
    shared = box.shared(other)
    return shared > 0 and shared >= SAME_MARK_COVER * min(box.area, other.area)


class _Fill:
    """Fills gaps of up to `longest` frames; takes what is gone from each frame in order."""

    STATE = ("gone",)

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self.gone: deque[Sequence[Box]] = deque()

    def __call__(self, window: Sequence[Marks], here: int) -> Marks:
        marks = list(window[here])
        gone = self.gone.popleft()
        for first in range(here - 1, -1, -1):
            for earlier in window[first]:
                if match(earlier.box, marks):
                    continue
                last = _next_sighting(earlier, window, here)
                if last is None or last - first > self._longest + 1:
                    continue
                later = match(earlier.box, window[last])
                assert later is not None
                if match(later.box, marks) or _jumped_away(window, first, last):
                    continue
                whole = _between(earlier, later)
                if not any(confirms(place, whole.box) for place in gone):
                    marks = [*(mark for mark in marks if not _covers(whole.box, mark.box)), whole]
        return marks


def _covers(box: Box, part: Box) -> bool:
    return part.shared(box) >= SAME_MARK_COVER * part.area


def _next_sighting(mark: Mark, window: Sequence[Marks], here: int) -> int | None:
    """The first frame after `here` that has the mark in the same place, or None."""
    later = range(here + 1, len(window))
    return next((index for index in later if match(mark.box, window[index])), None)


def _jumped_away(window: Sequence[Marks], first: int, last: int) -> bool:
    """Whether a mark stood, between two frames, where neither of them has one.

    Then the mark that both of them have was not overlooked in between: it was there. What lies
    inside that mark is only a part of it.
    """
    ends = [*window[first], *window[last]]
    return any(
        not any(_covers(end.box, mark.box) for end in ends)
        for index in range(first + 1, last)
        for mark in window[index]
    )


def _between(earlier: Mark, later: Mark) -> Mark:
    corners = zip(earlier.box.as_tuple(), later.box.as_tuple(), strict=True)
    x0, y0, x1, y1 = ((a + b) // 2 for a, b in corners)
    confidence = (earlier.confidence + later.confidence) / 2
    return Mark(Box(x0, y0, x1, y1), confidence, filled=True)


class _Steady:
    """Median boxes with hysteresis; remembers the previous frame's result."""

    STATE = ("_previous",)

    def __init__(self) -> None:
        self._previous: Marks = []

    def __call__(self, window: Sequence[Marks], here: int) -> Marks:
        self._previous = [
            Mark(self._box(mark, window, here), mark.confidence, mark.filled)
            for mark in window[here]
        ]
        return list(self._previous)

    def _box(self, mark: Mark, window: Sequence[Marks], here: int) -> Box:
        frames = list(window)
        matches = [
            [_best_match(mark.box, marks) for marks in side if marks]
            for side in (frames[:here], frames[here + 1 :])
        ]
        sides = [[found.box for found, _ in side if found is not None] for side in matches]
        alike = [
            [found.box for found, iou in side if found is not None and iou >= SAME_SHAPE_IOU]
            for side in matches
        ]
        slipped = all(len(few) < len(side) for few, side in zip(alike, sides, strict=True))
        run = [mark.box, *(box for side in (sides if slipped else alike) for box in side)]
        corners = zip(*(box.as_tuple() for box in run), strict=True)
        x0, y0, x1, y1 = (round(median(corner)) for corner in corners)
        box = Box(x0, y0, x1, y1)
        last = match(box, self._previous)
        if last is not None and _distance(last.box, box) <= STILL_PIXELS:
            return last.box
        return box


def _distance(a: Box, b: Box) -> int:
    return max(abs(p - q) for p, q in zip(a.as_tuple(), b.as_tuple(), strict=True))
