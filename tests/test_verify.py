"""A second look at the result, and one repair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sorawm_pipeline import Pipeline, PipelineConfig, warm
from sorawm_pipeline.report import VerifyReport
from sorawm_pipeline.vision.detector import Detection
from tests.clips import MARK, Clip, rgb
from tests.conftest import WhiteDetector

MakeClip = Callable[[str, Clip], Path]


class HalfBlind(WhiteDetector):
    """Sees only the left half of a mark that is whole, as one that knows another mark might."""

    def _one(self, image: NDArray[np.uint8]) -> list[Detection]:
        found = super()._one(image)
        return [
            Detection((b[0], b[1], min(b[2], b[0] + (MARK.x1 - MARK.x0) / 2), b[3]), 0.9)
            for b in (one.box for one in found)
        ]


def use(monkeypatch: pytest.MonkeyPatch, detector: type[WhiteDetector]) -> None:
    monkeypatch.setattr(warm, "_load", lambda config: (detector(), 0.4))


CONFIG = PipelineConfig.load_yaml(
    "verify: true\ninpaint: {margin: 1, method: membrane}\nencode: {quality: 'crf:4'}"
)


async def verified(make_clip: MakeClip, folder: Path) -> VerifyReport:
    """What looking again at a cleaned clip found; all of its frames are there."""
    report = await Pipeline(CONFIG).process(
        make_clip("clip.mp4", Clip(frames=30)), folder / "out.mp4"
    )
    assert report.frames.encoded == 30
    assert report.verification is not None
    return report.verification


async def test_a_second_look_loads_no_second_detector(
    make_clip: MakeClip, tmp_path: Path, detectors: list[WhiteDetector]
) -> None:
    source = make_clip("clip.mp4", Clip(frames=30))
    await Pipeline(CONFIG).process(source, tmp_path / "out.mp4")
    assert [detector.closed for detector in detectors] == [True]


async def test_nothing_is_repaired_where_nothing_is_removed(
    make_clip: MakeClip, tmp_path: Path, detectors: list[WhiteDetector]
) -> None:
    source = make_clip("clip.mp4", Clip(frames=30))
    config = PipelineConfig.load_yaml("verify: true\ninpaint: {method: none}")
    report = await Pipeline(config).process(source, tmp_path / "out.mp4")
    assert report.verification is not None
    assert (report.verification.residual_frames, report.verification.repaired) == (30, False)


async def test_a_clean_result_is_not_cleaned_again(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, WhiteDetector)
    verification = await verified(make_clip, tmp_path)
    assert (verification.residual_frames, verification.repaired) == (0, False)


async def test_what_was_missed_is_repaired_once(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, HalfBlind)
    verification = await verified(make_clip, tmp_path)
    assert (verification.residual_frames, verification.repaired) == (30, True)
    assert verification.residual_marks == ()
    assert all(
        picture[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1].max() < 200
        for picture in rgb(tmp_path / "out.mp4")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


async def test_without_the_key_nobody_looks(
    make_clip: MakeClip, tmp_path: Path, detectors: list[WhiteDetector]
) -> None:
    source = make_clip("clip.mp4", Clip(frames=30))
    report = await Pipeline(PipelineConfig()).process(source, tmp_path / "out.mp4")
    assert report.verification is None
    assert len(detectors) == 1
