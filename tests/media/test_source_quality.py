"""How a source's quantisers decide what its result costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.media.clip import ClipInfo, Limits, probe
from sorawm_pipeline.media.encoders import ENCODERS, options_for
from sorawm_pipeline.media.source_quality import (
    COARSEST,
    FINEST,
    matched_crf,
    most_bits,
)
from tests.clips import Clip

LIMITS = Limits.of(PipelineConfig().decode.limits)
MakeClip = Callable[[str, Clip], Path]


def textured(index: int) -> np.ndarray:
    """A pattern that moves, with grain, so that bits are needed."""
    y, x = np.mgrid[0:96, 0:128]
    grain = np.random.default_rng(index).normal(0, 6, (96, 128, 1))
    waves = 120 + 60 * np.sin((x + 2 * index) / 5)[..., None] + 40 * np.cos(y / 4)[..., None]
    return np.asarray(np.clip(waves + grain, 0, 255).repeat(3, 2), np.uint8)


def encoded(make_clip: MakeClip, crf: int, codec: str = "libx264", **more: object) -> ClipInfo:
    options = (("crf", str(crf)), ("preset", "fast"))
    clip = Clip(frames=40, draw=textured, codec=codec, options=options, **more)  # type: ignore[arg-type]
    return probe(make_clip(f"{codec}-{crf}.mp4", clip), LIMITS)


def crf_for(clip: ClipInfo, codec: str = "h264") -> float | None:
    return matched_crf(clip, LIMITS, ENCODERS[codec], "veryfast")


def test_the_coarser_a_source_the_coarser_its_result(make_clip: MakeClip) -> None:
    found = [crf_for(encoded(make_clip, crf)) or 0.0 for crf in (12, 18, 24)]
    assert FINEST <= found[0] < found[1] < found[2] <= COARSEST


def test_the_constant_quality_stays_within_bounds(make_clip: MakeClip) -> None:
    assert crf_for(encoded(make_clip, 1)) == FINEST
    assert crf_for(encoded(make_clip, 50)) == COARSEST
    assert crf_for(encoded(make_clip, 24), "hevc") is None


def test_ten_bits_are_on_the_same_scale(make_clip: MakeClip) -> None:
    eight = crf_for(encoded(make_clip, 18))
    ten = crf_for(encoded(make_clip, 19, pix_fmt="yuv420p10le"))
    assert ten == pytest.approx(eight, abs=4)


def test_other_sources_bound_the_bits(make_clip: MakeClip) -> None:
    clip = encoded(make_clip, 25, "mpeg4")
    assert crf_for(clip) is None
    with av.open(str(clip.path)) as container:
        size = sum(packet.size for packet in container.demux(video=0))
    most = most_bits(clip, LIMITS, ENCODERS["h264"])
    assert most == pytest.approx(1.1 * 8 * size / (40 / 25), rel=0.1)
    assert most_bits(encoded(make_clip, 25), LIMITS, ENCODERS["h264"]) is None
    assert most_bits(clip, LIMITS, ENCODERS["ffv1"]) is None


@pytest.mark.parametrize(
    ("codec", "said"),
    [
        ("h264", {"maxrate": "500000", "bufsize": "1000000"}),
        ("hevc", {"x265-params": "log-level=error:vbv-maxrate=500:vbv-bufsize=1000"}),
        ("av1", {"svtav1-params": "mbr=500"}),
        ("vp9", {"b": "500000"}),
    ],
)
def test_how_encoders_are_told(codec: str, said: dict[str, str]) -> None:
    options = options_for(ENCODERS[codec], "veryfast", 20, "mp4", 500_000)
    assert said.items() <= options.items()


def test_what_cannot_be_decoded_tells_nothing(make_clip: MakeClip) -> None:
    clip = encoded(make_clip, 25)
    clip.path.write_bytes(b"no clip any more")
    assert crf_for(clip) is None
    assert most_bits(clip, LIMITS, ENCODERS["hevc"]) is None


@pytest.mark.parametrize("crf", [12, 15, 18])
async def test_a_result_is_about_as_large_as_its_source(
    make_clip: MakeClip, tmp_path: Path, crf: int
) -> None:
    clip = encoded(make_clip, crf)
    config = PipelineConfig.model_validate({"detect": {"weights": "none"}})
    await Pipeline(config).process(clip.path, tmp_path / "out.mp4")

    def size(path: Path) -> int:
        with av.open(str(path)) as container:
            return sum(packet.size for packet in container.demux(video=0))

    assert 0.5 < size(tmp_path / "out.mp4") / size(clip.path) < 1.5
