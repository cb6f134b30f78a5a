"""Whole clips of which groups are copied: what the report says, and what happens where it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.report import ClipReport, SpliceReport
from sorawm_pipeline.stages.splice import Spliced
from tests.clips import LIMITS, MARK, Clip, Picture, marked, packets, pictures, rgb, scene, times

MakeClip = Callable[[str, Clip], Path]
pytestmark = pytest.mark.usefixtures("detectors")

GROUPED = ("crf", "4"), ("preset", "ultrafast"), ("g", "20"), ("sc-threshold", "0"), ("bf", "2")
IN_THE_SECOND = range(24, 36)
FRAMES = 60


def partly(index: int) -> Picture:
    return marked(index) if index in IN_THE_SECOND else scene(index)


def splice_of(report: ClipReport) -> SpliceReport:
    assert report.encoder is not None
    assert report.encoder.splice is not None
    return report.encoder.splice


def config(**sections: dict[str, object]) -> PipelineConfig:
    """A full search, so that marks are found which no key frame shows."""
    searched = {"inpaint": {"margin": 2}, "detect": {"scout": "off"}}
    return PipelineConfig.model_validate(searched | sections)


async def test_a_clip_without_a_mark_keeps_its_packets(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip(FRAMES, scene, options=GROUPED, audio=True))
    output = tmp_path / "out.mp4"
    report = await Pipeline(config()).process(source, output)
    for kind in ("video", "audio"):
        assert packets(output, kind) == packets(source, kind)
    assert splice_of(report) == SpliceReport(gops=3, copied_gops=3, copied_frames=FRAMES)
    assert report.frames.encoded == FRAMES
    with av.open(str(output)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert "sorawm-pipeline" in tags["comment"], "the result says that it was edited"
    assert report.provenance is not None
    assert report.provenance.signed


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".mkv", ".ts"])
async def test_only_the_group_with_the_mark_changes(
    extension: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip(f"clip{extension}", Clip(FRAMES, partly, options=GROUPED))
    output = tmp_path / f"out{extension}"
    report = await Pipeline(config()).process(source, output)
    assert splice_of(report) == SpliceReport(gops=3, copied_gops=2, copied_frames=40)
    assert len(times(output)) == FRAMES
    for index, (before, after) in enumerate(zip(pictures(source), pictures(output), strict=True)):
        same = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        assert same == (not 20 <= index < 40)
    for picture in rgb(output):
        assert picture[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1].max() < 190, "the mark is gone"


@pytest.mark.parametrize(
    ("encode", "codec", "reason"),
    [
        ({"splice": "off"}, "libx264", "off"),
        ({"quality": "crf:20"}, "libx264", "asked for"),
        ({"codec": "h264"}, "libx264", "asked for"),
        ({}, "ffv1", "ffv1"),
    ],
)
async def test_why_nothing_is_copied(
    encode: dict[str, object], codec: str, reason: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clip.mkv", Clip(FRAMES, partly, codec=codec, options=GROUPED))
    report = await Pipeline(config(encode=encode)).process(source, tmp_path / "out.mkv")
    found = splice_of(report)
    assert found.copied_gops == 0
    assert reason in (found.reason or "")
    assert len(times(tmp_path / "out.mkv")) == FRAMES


async def test_another_container_has_everything_encoded(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clip.ts", Clip(FRAMES, partly, options=GROUPED))
    report = await Pipeline(config()).process(source, tmp_path / "out.mp4")
    assert "another form" in (splice_of(report).reason or "")
    assert len(times(tmp_path / "out.mp4")) == FRAMES


async def test_a_splice_that_does_not_hold_is_made_again_without(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(self: Spliced, *args: object) -> None:
        raise Unfit("the container changes what is spliced into it")

    monkeypatch.setattr(Spliced, "check", damaged)
    source = make_clip("clip.mp4", Clip(FRAMES, partly, options=GROUPED))
    report = await Pipeline(config()).process(source, tmp_path / "out.mp4")
    assert splice_of(report).reason == "the container changes what is spliced into it"
    assert report.frames.encoded == FRAMES
    assert times(tmp_path / "out.mp4") == times(source)
    assert [path.name for path in tmp_path.rglob(".sorawm-*")] == []


def test_the_check_sees_a_changed_byte(tmp_path: Path) -> None:
    path = Clip(FRAMES, scene, options=GROUPED).write(tmp_path / "clip.mkv")
    whole = Spliced(3, runs=[(True, FRAMES)])
    with pytest.raises(Unfit, match="changes"):
        whole.check(path, 0, LIMITS)
    with pytest.raises(Unfit, match="missing"):
        Spliced(3, runs=[(False, FRAMES + 1)]).check(path, 0, LIMITS)
    Spliced(3, runs=[(False, FRAMES)]).check(path, 0, LIMITS)


async def test_verification_cleans_again_with_copies(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip(FRAMES, partly, options=GROUPED))
    report = await Pipeline(PipelineConfig.model_validate({"verify": True})).process(
        source, tmp_path / "out.mp4"
    )
    assert report.verification is not None
    assert splice_of(report).copied_gops == 2
