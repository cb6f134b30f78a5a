"""Which constant quality trials choose."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.media.encoders import ENCODERS
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.source_quality import read_sample
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.stages.picture_encoder import EncodeSettings
from sorawm_pipeline.stages.trial import BOUNDS, GOAL, QUANTISERS, matched, matched_quality
from tests.clips import Clip, scene
from tests.media.test_source_quality import LIMITS, MakeClip, encoded, textured

FINEST, COARSEST = BOUNDS["h264"]


def quality(make_clip: MakeClip, crf: int, codec: str = "h264", **more: object) -> float | None:
    clip = encoded(make_clip, crf, **more)  # type: ignore[arg-type]
    sample = read_sample(clip, LIMITS, codec)
    assert sample is not None
    return matched_quality(clip, sample, EncodeSettings(ENCODERS[codec], "mp4", "veryfast"))


@given(
    needed=st.floats(12, 34),
    half=st.floats(4, 12),
    first=st.floats(5, 50),
    bend=st.floats(-0.1, 0.1),
)
def test_two_trials_land_near_the_goal(
    needed: float, half: float, first: float, bend: float
) -> None:
    """For sizes that fall exponentially, with a slope nobody knows, a little bent."""
    asked: list[float] = []

    def size(crf: float) -> float:
        asked.append(crf)
        off = crf - needed
        return float(GOAL * 2 ** (-off / half * (1 + bend * off / 20)))

    found = matched(size, first, 6.0, (10.0, 36.0))
    assert len(asked) <= 2
    assert 10 <= found <= 36
    before = max(abs(asked[0] - needed), 0.5)
    assert abs(found - needed) <= max(1.2, 0.5 * before), "nearer than where it began"


def test_a_first_guess_that_fits_is_taken() -> None:
    assert matched(lambda crf: 1.0, 23.0, 6.0, (10.0, 36.0)) == 23.0


def test_beyond_the_bounds_nothing_is_tried() -> None:
    asked: list[float] = []

    def size(crf: float) -> float:
        asked.append(crf)
        return 0.1

    assert matched(size, 5.0, 6.0, (10.0, 36.0)) == 10.0
    assert asked == [10.0]


def test_the_coarser_a_source_the_coarser_its_result(make_clip: MakeClip) -> None:
    found = [quality(make_clip, crf) or 0.0 for crf in (12, 18, 24)]
    assert FINEST <= found[0] < found[1] < found[2] <= COARSEST


def test_the_constant_quality_stays_within_bounds(make_clip: MakeClip) -> None:
    assert quality(make_clip, 1) == FINEST
    assert quality(make_clip, 24, "ffv1") is None


def test_ten_bits_are_on_the_same_scale(make_clip: MakeClip) -> None:
    eight = quality(make_clip, 18)
    ten = quality(make_clip, 19, pix_fmt="yuv420p10le")
    assert ten == pytest.approx(eight, abs=4)


def test_quantisers_are_whole(make_clip: MakeClip) -> None:
    found = quality(make_clip, 25, "mpeg2video")
    assert found == int(found or 0.5)
    assert QUANTISERS[0] <= found <= QUANTISERS[1]


SOURCES = [
    ("libx264", ".mp4", "23"),
    ("libx265", ".mp4", "24"),
    ("libvpx-vp9", ".webm", "30"),
    ("libsvtav1", ".mp4", "35"),
    ("mpeg2video", ".mpg", ""),
    ("mpeg4", ".avi", ""),
]


@pytest.mark.parametrize(("encoder", "suffix", "crf"), SOURCES)
async def test_a_result_is_about_as_large_as_its_source(
    encoder: str, suffix: str, crf: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    options = (("crf", crf),) if crf else ()
    clip = Clip(frames=100, draw=textured, codec=encoder, options=(*options, ("g", "50")))
    source = make_clip(f"clip{suffix}", clip)
    config = PipelineConfig.model_validate(
        {"detect": {"weights": "none"}, "encode": {"splice": "off"}}
    )
    await Pipeline(config).process(source, tmp_path / f"out{suffix}")
    share = video_bytes(tmp_path / f"out{suffix}") / video_bytes(source)
    assert 0.7 <= share <= 1.2


def video_bytes(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size for packet in container.demux(video=0))


async def test_key_frames_are_as_far_apart_as_the_source_has_them(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = encoded(make_clip, 23).path
    config = PipelineConfig.model_validate(
        {"detect": {"weights": "none"}, "encode": {"splice": "off"}}
    )
    await Pipeline(config).process(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert [index for index, key in enumerate(keys) if key] == [0, 25, 50]


async def test_other_stages_work_while_it_is_tried(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detected = threading.Event()
    process = Detect.process

    def told(self: Detect, batch: Sequence[Frame]) -> list[Frame]:
        detected.set()
        return process(self, batch)

    def waits(*_: object) -> float:
        assert detected.wait(30), "nothing is detected before the trials are over"
        return 31.0

    monkeypatch.setattr(Detect, "process", told)
    monkeypatch.setattr("sorawm_pipeline.job.matched_quality", waits)
    source = make_clip("clip.mp4", Clip(frames=30, draw=scene))
    config = PipelineConfig.model_validate({"detect": {"weights": "none"}})
    report = await Pipeline(config).process(source, tmp_path / "out.mp4")
    assert report.frames.encoded == 30


async def test_a_clip_that_is_copied_is_not_tried(
    make_clip: MakeClip, tmp_path: Path, detectors: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("nothing is encoded")

    monkeypatch.setattr("sorawm_pipeline.job.read_sample", never)
    source = make_clip("clip.mp4", Clip(frames=30, draw=scene, options=(("g", "20"),)))
    report = await Pipeline().process(source, tmp_path / "out.mp4")
    assert report.scout is not None
    assert report.scout.copied
