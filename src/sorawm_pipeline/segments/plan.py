"""Where a clip is cut, and which frames around a piece count for it. Nothing here opens a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.gops import Gops
from sorawm_pipeline.media.timeline import Timeline
from sorawm_pipeline.snapshot import value

LONG = 240
"""Frames of a run of marks before a piece that are restored once more so that the piece is exactly
what it is in the whole; of longer runs, only as many as still tell."""


@value
@dataclass(frozen=True, slots=True)
class Piece:
    """The frames from `first` to before `end`; it begins with a key frame."""

    number: int
    first: int
    end: int


def cut(timeline: Timeline, gops: Gops | None, time_base: Fraction, length_s: float) -> list[Piece]:
    """Pieces of at least some seconds each; what is left is the last one's, if it is short.

    Args:
        timeline: of the clip.
        time_base: seconds per tick of it.
        length_s: those seconds.
        gops: the groups that may be copied, which are not cut; None if none may.
    """
    pts, starts = timeline.pts, timeline.starts
    if gops is not None:
        starts = np.intersect1d(starts, np.searchsorted(pts, np.array(gops.starts)))
    ticks = length_s / time_base
    ends, first = [0], int(pts[0])
    for start in starts.tolist():
        if pts[start] - first >= ticks:
            ends.append(start)
            first = int(pts[start])
    if len(ends) > 1 and pts[-1] - pts[ends[-1]] < ticks / 2:
        ends.pop()
    ends.append(len(pts))
    return [Piece(number, *bounds) for number, bounds in enumerate(pairwise(ends))]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far restoring a frame looks.

    Attributes:
        window: of the temporal stage, in frames.
        together: frames of a mark that the inpainter fills at once.
    """

    window: int
    together: int

    @property
    def period(self) -> int:
        """Frames that the temporal stage settles at a time, in a long run of marks."""
        return max(1, self.window + 1 - self.window // 2)


@value
@dataclass(frozen=True, slots=True)
class Around:
    """The frames that a piece is restored from.

    Attributes:
        first, end: half-open; equal if no frame of the piece need be decoded.
        behind: frames of the first group of fills that lie before `first`.
    """

    first: int
    end: int
    behind: int = 0


def around(
    marked: NDArray[np.bool_], first: int, end: int, total: int, reach: Reach
) -> Around | None:
    """The frames that count for those from `first` to before `end`; None: too few are known yet.

    Where no mark is, stages remember nothing: from there on, and up to such a frame, a part comes
    out as it does in the whole. In a run that is too long for that, it begins where the temporal
    stage settles and looks back as far as anything can be seen of it.

    Args:
        marked: (n,) whether each of the first frames of the clip, as far as known, has a mark.
        first: of the frames in question.
        end: behind the last of them.
        total: frames of the clip.
        reach: of the stages.
    """
    known = len(marked)
    if known < end:
        return None
    begin, behind = _begin(marked, first, reach)
    if not marked[end - 1]:
        return Around(begin, end, behind)
    limit = min(total, end + reach.window + reach.together)
    free = np.flatnonzero(~marked[end:limit])
    if free.size:
        return Around(begin, end + int(free[0]) + 1, behind)
    return Around(begin, limit, behind) if known >= limit else None


def _begin(marked: NDArray[np.bool_], first: int, reach: Reach) -> tuple[int, int]:
    """Where to begin for frames from `first` on, and how many of a group of fills lie before."""
    free = np.flatnonzero(~marked[: first + 1])
    origin = int(free[-1]) if free.size else 0
    run = origin + 1 if free.size else 0
    if first - origin <= LONG:
        return origin, 0
    periods = (first - origin - reach.window - 2 * reach.together) // reach.period
    begin = origin + max(0, periods) * reach.period
    return (begin, (begin - run) % reach.together) if begin > origin else (origin, 0)


def changed_groups(
    gops: Gops, timeline: Timeline, marked: NDArray[np.bool_], piece: Piece
) -> tuple[int, int, Sequence[int]]:
    """The groups of a piece, from and to before which, and those of them that hold a mark.

    Args:
        gops: of the clip.
        timeline: of the clip.
        marked: (n,) for the frames of the clip as far as known, at least to the piece's end.
        piece: which begins and ends with groups.
    """
    starts = np.searchsorted(timeline.pts, np.array(gops.starts))
    low, high = (int(at) for at in np.searchsorted(starts, (piece.first, piece.end)))
    ends = [*starts[low + 1 : high].tolist(), piece.end]
    changed = [
        number
        for number, (begin, end) in enumerate(zip(starts[low:high].tolist(), ends, strict=True))
        if marked[begin:end].any()
    ]
    return low, high, changed


def decoding_times(timeline: Timeline, first: int, end: int, reorder: int) -> tuple[int, ...]:
    """Decoding times for packets of the pictures from `first` to before `end`, in their order.

    Each packet is decoded when the picture `reorder` places before it is shown, so none is shown
    before it is decoded, and pieces join without a step. Before the clip's first picture the times
    go on backwards.
    """
    pts = timeline.pts
    step = int(pts[1] - pts[0]) if len(pts) > 1 else 1
    lead = [int(pts[0]) - step * k for k in range(reorder - first, 0, -1)]
    return (*lead[: end - first], *pts[max(0, first - reorder) : max(0, end - reorder)].tolist())
