"""A run seen from inside, and the suite's commands."""

from __future__ import annotations

import re
from pathlib import Path

import over_time
import pytest
import suite
from over_time import plot_trace, traced

from sorawm_pipeline import Pipeline, PipelineConfig
from tests.clips import Clip


@pytest.mark.usefixtures("detectors")
async def test_a_run_is_read_while_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_time, "INTERVAL_S", 0.0)
    clip = Clip(frames=40).write(tmp_path / "clip.mp4")
    async with Pipeline(PipelineConfig.model_validate({"inpaint": {"method": "none"}})) as pipeline:
        trace = await traced(pipeline, clip)
    frames = [moment["frames"] for moment in trace]
    assert frames == sorted(frames)
    assert 0 < frames[-1] <= 40
    assert all(0 <= fill <= 1 for moment in trace for fill in moment["queues"].values())
    assert max(moment["live_frames"] for moment in trace) > 1
    plot_trace(trace, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_suite_runs_benches_that_exist_with_options_that_they_know(tmp_path: Path) -> None:
    for quick in (False, True):
        for script, *words in suite.commands(Path("clip.mp4"), tmp_path, quick=quick):
            text = (suite.BENCH / script).read_text()
            text += (suite.BENCH / "clip_command.py").read_text()
            for option in (word for word in words if word.startswith("--")):
                assert re.search(rf'add_argument\(\s*"{option}"', text), (script, option)
