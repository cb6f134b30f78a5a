"""The benches of pieces, for a short while."""

from __future__ import annotations

import json
from pathlib import Path

import piece_kills
import pytest
from piece_kills import begun, killed_and_done
from pieces import compared

from tests.clips import Clip
from tests.segments.test_pieces import CLIP, jumping


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_kills, "STARTING_S", 1.0)
    clip = CLIP.write(tmp_path / "in.mp4")
    told = killed_and_done(clip, tmp_path, kills=2, length_s=0.4, seed=4)
    assert told["pieces"] == 15
    assert told["kills"] <= 2
    assert all(again <= 2 for again in told["begun_again"])
    assert told["same_marks"]
    assert told["same_times"]
    assert told["frames_differing"] == 0
    assert told["left_over"] == []


def test_what_differs_is_told(tmp_path: Path) -> None:
    lossless = (("qp", "0"), ("preset", "ultrafast"))
    one = Clip(8, jumping, options=lossless).write(tmp_path / "one.mkv")
    other = Clip(8, lambda n: jumping(n + (n == 5)), options=lossless).write(tmp_path / "two.mkv")
    assert compared(one, one)["frames_differing"] == 0
    assert compared(one, other)["frames_differing"] == 1
    assert compared(one, other)["largest_difference"] > 20


def test_pieces_are_told_from_a_log_that_was_cut(tmp_path: Path) -> None:
    log = tmp_path / "log"
    entry = {"event": "piece", "doing": "finding", "number": 3}
    log.write_text(json.dumps(entry) + "\n" + json.dumps({"event": "opened"}) + '\n{"event": "pi')
    assert dict(begun(log)) == {"finding 3": 1}
