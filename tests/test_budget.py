"""How many frames may be on their way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sorawm_pipeline import PipelineConfig
from sorawm_pipeline.budget import QUEUE_BYTES, frame_bytes, room_for
from sorawm_pipeline.media.clip import Limits, probe
from tests.clips import Clip


@pytest.mark.parametrize(
    ("wanted", "frames_that_fit", "capacity"),
    [(4, 9, 4), (4, 2, 2), (4, 0, 1), (1, 2, 1)],
)
def test_queues_of_large_frames_are_short(
    wanted: int,
    frames_that_fit: int,
    capacity: int,
    make_clip: Callable[[str, Clip], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = PipelineConfig.model_validate({"queues": {"capacity": wanted}})
    clip = probe(make_clip("clip.mp4", Clip()), Limits.of(config.decode.limits))
    room = frames_that_fit * frame_bytes(clip) + 1
    monkeypatch.setattr("sorawm_pipeline.budget.QUEUE_BYTES", room)
    assert room_for(clip, config, "cpu", held=0).capacity == capacity


def test_full_hd_has_shorter_queues_than_a_phone_clip() -> None:
    assert PipelineConfig().queues.capacity <= QUEUE_BYTES // (704 * 1280 * 3 // 2)
    assert PipelineConfig().queues.capacity > QUEUE_BYTES // (1920 * 1080 * 3 // 2)
