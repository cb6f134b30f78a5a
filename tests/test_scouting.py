"""Clips whose key frames are looked at first: what is copied as it is, and what is searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import probe
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.report import ClipReport, ScoutReport
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.stages.scout import LONGEST_S, Doubt, Scout
from sorawm_pipeline.stages.whole_copy import WholeCopy
from sorawm_pipeline.vision.detector import Detection
from sorawm_pipeline.vision.regions import Regions
from tests.clips import LIMITS, Clip, Picture, marked, packets, rgb, scene, times
from tests.conftest import WhiteDetector

MakeClip = Callable[[str, Clip], Path]
RATE, GOP, FRAMES = 25, 20, 70


def options(gop: int = GOP) -> tuple[tuple[str, str], ...]:
    fast = ("crf", "4"), ("preset", "ultrafast"), ("sc-threshold", "0"), ("bf", "2")
    return (*fast, ("g", str(gop)), ("keyint_min", str(gop)))


def clip(frames: Iterable[int], gop: int = GOP, **more: Any) -> Clip:
    """A clip with the mark in some frames."""
    shown = frozenset(frames)

    def draw(index: int) -> Picture:
        return marked(index) if index in shown else scene(index)

    return Clip(FRAMES, draw, options=options(gop), **more)


async def cleaned(source: Path, **sections: object) -> tuple[ClipReport, ScoutReport]:
    report = await _cleaned(source, **sections)
    assert report.scout is not None
    return report, report.scout


async def _cleaned(source: Path, **sections: object) -> ClipReport:
    settings = PipelineConfig.model_validate({"inpaint": {"margin": 2}, **sections})
    return await Pipeline(settings).process(source, source.with_name(f"out{source.suffix}"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov"])
async def test_a_clip_without_a_mark_is_copied_undecoded(
    suffix: str, make_clip: MakeClip, tmp_path: Path, detectors: list[WhiteDetector]
) -> None:
    source = make_clip(f"clip{suffix}", clip([], audio=True))
    report, scout = await cleaned(source)
    output = tmp_path / f"out{suffix}"
    for kind in ("video", "audio"):
        assert packets(output, kind) == packets(source, kind)
    assert times(output) == times(source)
    assert scout.copied
    assert "0.80 s apart" in scout.reason
    assert scout.frames_inferred == 5, "four key frames and the last picture"
    assert report.frames.encoded == FRAMES
    assert report.frames.decoded == 4 + FRAMES % GOP, "key frames, and those from the last one on"
    assert report.encoder is not None
    assert report.encoder.splice is not None
    assert report.encoder.splice.copied_frames == FRAMES
    assert len(detectors) == 1
    assert [path.name for path in tmp_path.glob(".sorawm-*")] == []


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize("frames", [range(3), range(15, 45), range(66, FRAMES)])
async def test_a_mark_at_any_look_has_the_clip_searched(
    frames: range, make_clip: MakeClip, tmp_path: Path
) -> None:
    """From the first picture on, around key frames, up to the last picture."""
    report, scout = await cleaned(make_clip("clip.mp4", clip(frames)))
    assert not scout.copied
    assert "a mark is in the picture at" in scout.reason
    assert report.frames.marked == len(frames)
    assert all(picture.max() < 190 for picture in rgb(tmp_path / "out.mp4"))


@pytest.mark.usefixtures("detectors")
async def test_rare_key_frames_tell_too_little(make_clip: MakeClip) -> None:
    report, scout = await cleaned(make_clip("clip.mp4", clip(range(30, 45), gop=FRAMES)))
    assert not scout.copied
    assert "apart" in scout.reason
    assert report.frames.marked == 15


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize(
    "sections",
    [
        {"detect": {"scout": "off"}},
        {"profile": "quality"},
        {"detect": {"stride": 1}},
        {"detect": {"regions": [{"box": [0, 0, 8, 8]}]}},
        {"encode": {"splice": "off"}},
        {"encode": {"quality": "crf:20"}},
    ],
)
async def test_when_nobody_looks_at_key_frames_first(
    sections: dict[str, object], make_clip: MakeClip
) -> None:
    report = await _cleaned(make_clip("clip.mp4", clip([])), **sections)
    assert report.scout is None
    assert report.frames.decoded == FRAMES


@pytest.mark.usefixtures("detectors")
async def test_a_clip_that_says_it_was_generated_is_searched(make_clip: MakeClip) -> None:
    said = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    source = make_clip("clip.mkv", clip([], tags=(("DIGITAL_SOURCE_TYPE", said),)))
    assert (await _cleaned(source)).scout is None


@pytest.mark.usefixtures("detectors")
async def test_a_copy_that_does_not_hold_has_the_clip_searched(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: WholeCopy) -> bool:
        raise Unfit("the container changes what is spliced into it")

    monkeypatch.setattr(WholeCopy, "step", broken)
    source = make_clip("clip.mp4", clip([]))
    report, scout = await cleaned(source)
    assert not scout.copied
    assert "the container changes" in scout.reason
    assert report.frames.decoded == FRAMES
    assert packets(tmp_path / "out.mp4", "video") == packets(source, "video")


class DoubtfulDetector(WhiteDetector):
    """Sees what is white for sure, and doubts some pictures, by their number."""

    def __init__(self, doubted: Sequence[int]) -> None:
        super().__init__()
        self._doubted = doubted
        self._number = 0

    def _one(self, image: Picture) -> list[Detection]:
        number, self._number = self._number, self._number + 1
        found = super()._one(image)
        doubtful = [Detection((4.0, 4.0, 12.0, 12.0), 0.2)]
        return found or (doubtful if number in self._doubted else [])


def scouted(path: Path, white: WhiteDetector) -> Scout:
    """A scout that has called a clip clean. Raises Doubt: it has not."""
    detector: Any = white
    info = probe(path, LIMITS)

    def search() -> Detect:
        regions = Regions((), info.display, info.time_base)
        cap = BatchCap(4)
        return Detect(info, detector, cap, stride=16, believe=0.4, window=5, regions=regions)

    scout = Scout(info, LIMITS, detector, BatchCap(4), 0.4, search)
    try:
        scout.open()
        while scout.step():
            pass
    finally:
        scout.close()
    return scout


@pytest.mark.parametrize(("doubted", "pictures"), [([0], 21), ([1], 41), ([1, 2], 61), ([4], 10)])
def test_pictures_around_a_doubtful_one_are_searched(
    doubted: list[int], pictures: int, make_clip: MakeClip
) -> None:
    """From the look before it to the one behind it, and none of them twice."""
    scout = scouted(make_clip("clip.mp4", clip([])), DoubtfulDetector(doubted))
    assert scout.searched == pictures


def test_a_mark_beside_a_doubtful_picture_is_found(make_clip: MakeClip) -> None:
    """Its frames lie between two key frames, so nobody would look there otherwise."""
    source = make_clip("clip.mp4", clip(range(23, 35)))
    assert scouted(source, WhiteDetector()).searched == 0
    with pytest.raises(Doubt, match=r"found at 0\.92 s"):
        scouted(source, DoubtfulDetector([2]))


def test_a_key_frame_that_was_passed_is_looked_at_if_the_next_is_far(make_clip: MakeClip) -> None:
    """A cut has a key frame soon after another, and none for a while afterwards."""

    def draw(index: int) -> Picture:
        return scene(index) if index < 8 else 255 - marked(index)[::-1] // 2

    fast = ("preset", "ultrafast"), ("crf", "4"), ("sc_threshold", "40")
    rhythm = ("g", "25"), ("keyint_min", "2")
    scout = scouted(
        make_clip("clip.mp4", Clip(FRAMES, draw, options=(*fast, *rhythm))), NeverDetector()
    )
    assert scout.longest_s == 1.0, "8 and 33, though 8 is near 0"
    assert scout.looks == 5


class NeverDetector(WhiteDetector):
    def _one(self, image: Picture) -> list[Detection]:
        return []


def test_many_doubtful_pictures_are_reason_enough(make_clip: MakeClip) -> None:
    with pytest.raises(Doubt, match="too many"):
        scouted(make_clip("clip.mp4", clip([])), DoubtfulDetector(range(4)))


def test_a_clip_that_is_cut_short_is_not_called_clean(make_clip: MakeClip) -> None:
    source = make_clip("clip.mp4", clip([]))
    whole = probe(source, LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(whole), "counts_frames", True)
        patch.setattr("tests.test_scouting.probe", lambda *_: _claiming(whole, FRAMES + 1))
        with pytest.raises(Doubt, match="cut short"):
            scouted(source, WhiteDetector())


def _claiming(info: Any, frames: int) -> Any:
    return replace(info, frames_claimed=frames)


LASTING = int(LONGEST_S * RATE) + 1


@settings(max_examples=40)
@given(gop=st.integers(2, 40), first=st.integers(-30, FRAMES - 1), more=st.integers(0, 20))
def test_a_mark_that_lasts_is_never_called_clean(
    gop: int, first: int, more: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever it begins and the key frames lie; at the clip's ends it may be cut short."""
    shown = range(max(0, first), min(FRAMES, first + LASTING + more))
    if not shown:
        return
    path = clip(shown, gop).write(tmp_path_factory.mktemp("scout") / "clip.mp4")
    with pytest.raises(Doubt):
        scouted(path, WhiteDetector())


def test_pictures_are_those_of_the_stream(make_clip: MakeClip) -> None:
    """Key frames decoded alone are what they are among the others."""
    seen: list[Picture] = []

    class Keeping(WhiteDetector):
        def _one(self, image: Picture) -> list[Detection]:
            seen.append(image.copy())
            return []

    source = make_clip("clip.mp4", clip([], rate=Fraction(RATE)))
    scouted(source, Keeping())
    wanted = [rgb(source)[index] for index in (0, 20, 40, 60, FRAMES - 1)]
    for one, other in zip(seen, wanted, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 2
