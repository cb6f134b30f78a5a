"""A detect report as a person asks about it: which mark is there when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.frame import Box, Frame, Mark
from sorawm_pipeline.report import DetectReport, FrameMark
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.vision.runs import Runs

SAME_PLACE = 0.5
"""Share of the smaller box that two boxes in one place have in common."""


@dataclass(frozen=True, slots=True)
class Span:
    """One mark in one place from frame `first` to `last`, both included.

    A mark whose box shrinks or grows from one frame to the next, as when its word fades in, stays
    one span, though the report's runs tell the two boxes apart.

    Attributes:
        box: the smallest box around all of its boxes, displayed pixels.
        filled: the frames in which no detector saw it.
    """

    first: int
    last: int
    box: Box
    filled: tuple[int, ...]

    def shares_place(self, other: Span) -> bool:
        smaller = min(self.box.area, other.box.area)
        return self.box.shared(other.box) > SAME_PLACE * smaller

    def joined(self, later: Span) -> Span:
        box = self.box.union(later.box)
        return Span(self.first, later.last, box, self.filled + later.filled)


class Findings:
    """A report with its times in seconds and its marks joined to spans.

    Attributes:
        spans: by first frame.
        seconds: of each frame since the first, and behind them the clip's end.
    """

    def __init__(self, report: DetectReport, time_base: Fraction) -> None:
        self.report = report
        frames = report.frames
        start = frames[0].pts or 0 if frames else 0
        ticks = [i if frame.pts is None else frame.pts - start for i, frame in enumerate(frames)]
        step = (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else 1
        self.seconds = [float(tick * time_base) for tick in ticks]
        self.seconds.append((self.seconds[-1] if ticks else 0) + float(step * time_base))
        self.spans = _spans(report)

    @property
    def count(self) -> int:
        return len(self.report.frames)

    @property
    def marked(self) -> int:
        return sum(bool(frame.marks) for frame in self.report.frames)

    def marks(self, index: int) -> tuple[FrameMark, ...]:
        return self.report.frames[index].marks

    def pictures(self, clip: ClipInfo, limits: Limits) -> Iterator[Frame]:
        """Decode the clip again, frame by frame.

        Raises:
            InputError: it cannot be read, or its frames are not those of the report.
        """
        decode = Decode(clip, limits)
        frames = self.report.frames
        try:
            decode.open()
            while read := decode.read(1):
                (frame,) = read
                if frame.index >= len(frames) or frames[frame.index].pts != frame.pts:
                    raise InputError(f"{clip.path} changed while it was being read")
                yield frame
        finally:
            decode.close()


def _spans(report: DetectReport) -> list[Span]:
    runs = Runs()
    marks = [[_mark(mark) for mark in frame.marks] for frame in report.frames]
    for index, found in enumerate(marks):
        runs.add(index, found)
    spans: list[Span] = []
    ending: dict[int, list[int]] = {}  # by last frame, places in the list above
    for run in runs.all():
        filled = []
        for index in range(run.first_frame, run.last_frame + 1):
            own = max(marks[index], key=lambda mark: mark.box.shared(run.box))
            filled += [index] * own.filled
        span = Span(run.first_frame, run.last_frame, run.box, tuple(filled))
        before = ending.get(span.first - 1, [])
        place = next((i for i in before if spans[i].shares_place(span)), len(spans))
        if place == len(spans):
            spans.append(span)
        else:
            before.remove(place)
            spans[place] = spans[place].joined(span)
        ending.setdefault(span.last, []).append(place)
    return spans


def _mark(mark: FrameMark) -> Mark:
    x0, y0, x1, y1 = (round(side) for side in mark.box)
    return Mark(Box(x0, y0, x1, y1), mark.confidence, mark.origin == "filled")
