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
    ("frames_that_fit", "capacities"),
    [(9, (4, 8, 8, 8)), (5, (4, 5, 5, 8)), (2, (2, 2, 2, 4)), (0, (1, 1, 1, 2))],
)
def test_queues_of_large_frames_are_short(
    frames_that_fit: int,
    capacities: tuple[int, ...],
    make_clip: Callable[[str, Clip], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = PipelineConfig.model_validate({"queues": {"capacity": 4}})
    clip = probe(make_clip("clip.mp4", Clip()), Limits.of(config.decode.limits))
    room = frames_that_fit * frame_bytes(clip) + 1
    monkeypatch.setitem(QUEUE_BYTES, "cpu", room)
    assert room_for(clip, config, "cpu", held=0).capacities == capacities
    cuda = room_for(clip, config, "cuda:0", held=0)
    assert cuda.capacities == (32, 16, 16, 8), "a GPU wants batches"
