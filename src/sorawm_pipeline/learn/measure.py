"""How good a detector is, and from which confidence on to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sorawm_pipeline.learn.samples import Box, Source
from sorawm_pipeline.vision.detector import Detection, Detector

FLOOR = 0.05  # confidence below which nothing is looked at
SHAPES = ((640, 352), (352, 640))
_MATCH = 0.5  # intersection over union from which a mark counts as found
_LEVELS = np.arange(0.2, 0.86, 0.05)
_PRICE = 3.0  # a false mark costs as much as this many missed ones


@dataclass(frozen=True, slots=True)
class Seen:
    """What was in one picture and what a detector found there."""

    marks: list[Box]
    found: list[Detection]


@dataclass(frozen=True, slots=True)
class Score:
    """Figures at one confidence.

    Attributes:
        confidence: 0..1.
        recall: share of marks found with an intersection over union of one half or more.
        mean_iou: mean intersection over union of those.
        false_marks: boxes on no mark, per picture.
        clean_marked: share of pictures without a mark in which something was found.
        marks: number of marks.
        clean: number of pictures without one.
    """

    confidence: float
    recall: float
    mean_iou: float
    false_marks: float
    clean_marked: float
    marks: int
    clean: int


def look(detector: Detector, source: Source, pictures: int) -> list[Seen]:
    """Run a detector over whole pictures, two of three of them with a mark."""
    seen = []
    for number in range(pictures):
        width, height = SHAPES[number % len(SHAPES)]
        image, boxes = source.sample(width, height, marked=number % 3 < 2)
        seen.append(Seen(boxes, detector.detect(image[None])[0]))
    return seen


def advised(seen: Sequence[Seen]) -> float:
    """Return the confidence at which misses and false marks together cost least.

    Of equally good ones it is the middle, which is farthest from both mistakes.
    """
    costs = np.array(
        [
            (1 - s.recall) * s.marks + _PRICE * s.false_marks * len(seen)
            for s in (score(seen, float(level)) for level in _LEVELS)
        ]
    )
    best = np.flatnonzero(costs <= costs.min() + 1e-6)
    return round(float(_LEVELS[best[len(best) // 2]]), 2)


def score(seen: Sequence[Seen], confidence: float) -> Score:
    """Count at one confidence."""
    overlaps: list[float] = []
    marks = false = clean = clean_marked = 0
    for one in seen:
        found = [d for d in one.found if d.confidence >= confidence]
        marks += len(one.marks)
        clean += not one.marks
        clean_marked += not one.marks and bool(found)
        best = [max((iou(mark, d.box) for d in found), default=0.0) for mark in one.marks]
        overlaps += [value for value in best if value >= _MATCH]
        false += sum(all(iou(mark, d.box) < _MATCH for mark in one.marks) for d in found)
    return Score(
        confidence=confidence,
        recall=round(len(overlaps) / max(1, marks), 4),
        mean_iou=round(float(np.mean(overlaps)), 4) if overlaps else 0.0,
        false_marks=round(false / max(1, len(seen)), 4),
        clean_marked=round(clean_marked / max(1, clean), 4),
        marks=marks,
        clean=clean,
    )


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two half-open boxes x0, y0, x1, y1."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)
