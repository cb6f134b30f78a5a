"""What goes in comes out, but for the mark and for what the table says is lost, and why."""

from __future__ import annotations

import pytest

from tests.formats.inputs import CASES, Case
from tests.formats.matrix import PAGE, page
from tests.formats.outcome import Outcomes

UNTOLD = {"codec", "lasts"}
"""The report tells the codec in its own place; true headers in place of false ones are no loss."""

UNSEEN = {"depth"}
"""Decoders of ProRes say twelve bits whatever was encoded."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_out_is_what_went_in(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes.of(case)
    if case.refused is not None:
        assert outcome.refused is not None
        assert case.refused in outcome.refused
        return
    assert outcome.refused is None
    assert outcome.before is not None
    assert outcome.report is not None
    assert outcome.report.frames.marked == outcome.before.frames > 0, "every frame is written anew"
    differing = {
        name: (getattr(outcome.before, name), getattr(outcome.after, name)) for name in outcome.lost
    }
    assert set(differing) == set(case.lost) - UNSEEN, differing
    assert outcome.report.encoder is not None
    assert len(outcome.report.encoder.left_out) == len(set(case.lost) - UNTOLD)


def test_the_table_is_wide_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
    assert {case.container for case in CASES} == {"mp4", "mov", "mkv", "webm", "avi", "ts", "mpg"}


def test_the_document_says_what_the_table_found(outcomes: Outcomes) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(outcomes), "python -m tests.formats.matrix"
