from __future__ import annotations

from sorawm_pipeline.media.frame import Box, Mark
from sorawm_pipeline.vision.runs import Runs

HERE, THERE = Box(10, 10, 50, 30), Box(200, 100, 240, 120)


def test_runs_end_at_jumps_and_blanks() -> None:
    runs = Runs()
    marks = [[Mark(HERE, 0.5)], [Mark(HERE, 1.0, filled=True)], [], [Mark(THERE, 0.8)] * 1]
    for index, found in enumerate(marks):
        runs.add(index, found)
    first, second = runs.all()
    assert (first.first_frame, first.last_frame, first.box) == (0, 1, HERE)
    assert (first.confidence, first.filled_frames, first.frames) == (0.75, 1, 2)
    assert (second.first_frame, second.last_frame, second.box) == (3, 3, THERE)
    assert runs.marked_frames == 3


def test_two_marks_at_once_are_two_runs_and_boxes_grow_together() -> None:
    runs = Runs()
    runs.add(0, [Mark(HERE, 0.5), Mark(THERE, 0.6)])
    runs.add(1, [Mark(THERE, 0.6), Mark(Box(12, 9, 52, 30), 0.5)])
    assert [(run.first_frame, run.last_frame) for run in runs.all()] == [(0, 1), (0, 1)]
    assert runs.all()[0].box == Box(10, 9, 52, 30)
    assert runs.marked_frames == 2
