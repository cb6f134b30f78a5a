"""What is read of a source's cost, and what of it bounds its result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from sorawm_pipeline import PipelineConfig
from sorawm_pipeline.media.clip import ClipInfo, Limits, probe
from sorawm_pipeline.media.encoders import ENCODERS, options_for
from sorawm_pipeline.media.source_quality import (
    TAIL,
    TOGETHER,
    Place,
    Sample,
    most_bits,
    read_sample,
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
    options = (("crf", str(crf)), ("preset", "fast"), ("g", "25"), ("sc_threshold", "0"))
    clip = Clip(frames=60, draw=textured, codec=codec, options=options, **more)  # type: ignore[arg-type]
    return probe(make_clip(f"{codec}-{crf}.mp4", clip), LIMITS)


def sizes(clip: ClipInfo) -> tuple[int, int]:
    """Bytes of key frames and of others."""
    with av.open(str(clip.path)) as container:
        found = [(p.is_keyframe, p.size) for p in container.demux(video=0) if p.size]
    return sum(size for key, size in found if key), sum(size for key, size in found if not key)


def test_all_packets_are_weighed_and_some_pictures_taken(make_clip: MakeClip) -> None:
    clip = encoded(make_clip, 25)
    sample = read_sample(clip, LIMITS, "h264")
    assert sample is not None
    assert (sample.keys, sample.others) == sizes(clip)
    assert sample.gop == 25
    taken = [(place.key, len(list(place.pictures)), len(place.sizes)) for place in sample.places()]
    assert taken == [(True, TOGETHER, TOGETHER)] * 2


def test_the_pictures_of_a_place_are_those_of_its_packets(make_clip: MakeClip) -> None:
    """Also inside of an open group, where a decoder gives earlier ones late."""
    options = (("crf", "24"), ("g", "50"))
    clip = Clip(frames=100, draw=textured, codec="libx265", options=options)
    sample = read_sample(probe(make_clip("open.mp4", clip), LIMITS), LIMITS, "hevc")
    assert sample is not None
    taken = [(place.key, len(list(place.pictures)), len(place.sizes)) for place in sample.places()]
    assert taken == [(key, TOGETHER, TOGETHER) for key in (True, False, False)]


def test_a_finer_source_has_smaller_quantisers(make_clip: MakeClip) -> None:
    told = []
    for crf in (12, 20, 28):
        sample = read_sample(encoded(make_clip, crf), LIMITS, "h264")
        assert sample is not None
        assert sample.quantiser is not None
        told.append(sample.quantiser)
    assert told == sorted(told)


def test_key_frames_and_others_are_weighed_by_all_of_the_source() -> None:
    sizes = [100, *[10] * 9, *[10] * TAIL]

    def share(now: list[int], *, key: bool = True) -> float:
        sample = Sample(1000, 9000, 90, None, lambda: [Place(key=key, sizes=sizes)])
        return sample.share(lambda _: now)

    assert share(sizes) == pytest.approx(1)
    assert share([200, *sizes[1:]]) == pytest.approx(1.1), "keys are a tenth of it"
    assert share([100, *[5] * 9, *[10] * TAIL]) == pytest.approx(0.55)
    assert share([*sizes[:10], *[0] * TAIL]) == pytest.approx(1), "its end counts nothing"
    assert share([900, *sizes[1:]], key=False) == pytest.approx(1), "no key frame was there"
    assert share([]) == 1, "nothing was encoded"


def test_sources_bound_the_bits(make_clip: MakeClip) -> None:
    clip = encoded(make_clip, 25, "mpeg4")
    most = most_bits(clip, LIMITS, ENCODERS["h264"])
    assert most == pytest.approx(1.1 * 8 * sum(sizes(clip)) / (60 / 25), rel=0.1)
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
    assert read_sample(clip, LIMITS, "h264") is None
    assert most_bits(clip, LIMITS, ENCODERS["hevc"]) is None
