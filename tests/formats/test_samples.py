"""Recordings of Debian's package forensics-samples-files come through whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorawm_pipeline import Pipeline, PipelineConfig
from tests.formats.facts import differences, facts

SAMPLES = Path("/usr/share/forensics-samples/original-files")
CLIPS = {
    "movie1/VID_20191220_170832.mp4": ("h264", 41, (1920, 1080)),
    "movie2/movie-hello.avi": ("h264", 208, (1024, 576)),
    "movie2/movie-hello.mp4": ("h264", 249, (1280, 720)),
    "movie2/movie-hello.mpeg": ("mpeg2video", 249, (640, 480)),
}
"""Their codec, frames and size; one in Ogg is no format that is taken."""

CONFIG = {
    "encode": {"preset": "ultrafast"},
    "inpaint": {"method": "telea"},
    "detect": {"weights": "none", "regions": [{"box": [10, 10, 60, 40]}]},
}
"""A place is named on every frame, so every frame is encoded anew."""


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_a_recording_comes_through_whole(name: str, tmp_path: Path, runner: asyncio.Runner) -> None:
    source = SAMPLES / name
    if not source.is_file():
        pytest.skip("Debian's package forensics-samples-files is not installed")
    codec, frames, size = CLIPS[name]
    output = tmp_path / source.name
    pipeline = Pipeline(PipelineConfig.model_validate(CONFIG))
    report = runner.run(pipeline.process(source, output))
    before, after = facts(source), facts(output)
    assert (before.codec, before.frames, before.shape[:2]) == (codec, frames, size)
    assert differences(before, after) == []
    assert report.frames.encoded == report.frames.marked == frames
    assert report.encoder is not None
    assert report.encoder.left_out == ()
