"""Clips that an encoder refuses, or breaks with, get another one, or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import av
import pytest
from av.bitstream import BitStreamFilterContext

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media import encoders
from sorawm_pipeline.media.clip import ClipInfo, probe
from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.encoders import choose_encoder
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.stages.picture_encoder import EncodeSettings, PictureEncoder
from tests.clips import LIMITS, Clip, times

MakeClip = Callable[[str, Clip], Path]
HEVC = Clip(8, codec="libx265", options=(("preset", "ultrafast"), ("x265-params", "log-level=0")))
EBU_3213 = 22
"""Colour primaries that libav knows and x265 does not."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ClipInfo:
    return probe(Clip(2).write(tmp_path_factory.mktemp("plain") / "clip.mkv"), LIMITS)


def sized(clip: ClipInfo, codec: str, width: int, height: int, pixels: str) -> ClipInfo:
    display = Display(width, height)
    return replace(clip, codec=codec, display=display, layout=layout_of(pixels))


@pytest.mark.parametrize(
    ("codec", "size", "pixels", "muxer", "encoder"),
    [
        ("hevc", (64, 64), "yuv420p", "matroska", "libx265"),
        ("hevc", (96, 62), "yuv420p", "matroska", "libx264"),
        ("hevc", (40, 200), "yuv420p10le", "mp4", "libx264"),
        ("hevc", (97, 65), "yuv444p", "mp4", "libx265"),
        ("av1", (16, 1024), "yuv420p", "webm", "libvpx-vp9"),
        ("av1", (97, 65), "yuv420p", "webm", "libsvtav1"),
        ("rv40", (97, 65), "yuv420p", "matroska", "libsvtav1"),
        ("rv40", (33, 65), "yuv420p", "matroska", "libvpx-vp9"),
        ("vp9", (3, 3), "yuv420p", "webm", "libvpx-vp9"),
    ],
)
def test_the_source_s_codec_where_its_encoder_takes_the_size(
    plain: ClipInfo, codec: str, size: tuple[int, int], pixels: str, muxer: str, encoder: str
) -> None:
    assert choose_encoder("source", sized(plain, codec, *size, pixels), muxer).encoder == encoder


@pytest.mark.parametrize(
    ("codec", "size"), [("hevc", (40, 24)), ("h264", (97, 64)), ("av1", (8, 8))]
)
def test_a_codec_that_was_asked_for_is_not_replaced(
    plain: ClipInfo, codec: str, size: tuple[int, int]
) -> None:
    with pytest.raises(InputError, match=f"{size[0]}x{size[1]}.*another encode.codec") as caught:
        choose_encoder(codec, sized(plain, "vp9", *size, "yuv420p"), "matroska")
    assert caught.value.kind == "unsupported"


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize(
    "filtered", ["crop_right=56:crop_bottom=40", "crop_right=80", "colour_primaries=22"]
)
async def test_hevc_that_x265_cannot_make_comes_out_whole(
    filtered: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    """40x24 has x265 write beyond its memory; of 16x64 and of these colours it makes nothing."""
    source = rewritten(make_clip("before.mkv", HEVC), tmp_path / "clip.mkv", filtered)
    report = await Pipeline().process(source, tmp_path / "out.mkv")
    assert report.encoder is not None
    assert report.encoder.codec == "libx264"
    assert times(tmp_path / "out.mkv") == times(source)
    before, after = probe(source, LIMITS), probe(tmp_path / "out.mkv", LIMITS)
    assert (after.width, after.height) == (before.width, before.height)
    assert after.colour == before.colour


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize("splice", ["auto", "off"])
@pytest.mark.parametrize("quality", ["auto", "crf:30"])
async def test_a_refusal_that_nobody_foresaw_is_a_sentence(
    splice: str, quality: str, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "refusal", lambda *_: None)
    source = rewritten(make_clip("before.mkv", HEVC), tmp_path / "clip.mkv", "colour_primaries=22")
    config = PipelineConfig.model_validate({"encode": {"splice": splice, "quality": quality}})
    report = await Pipeline(config).attempt(source, tmp_path / "out.mkv")
    assert report.error is not None
    assert report.error.kind == "unsupported"
    assert report.error.message.startswith("libx265 does not take this clip, 96x64 yuv420p")
    assert {path.name for path in tmp_path.iterdir()} == {"before.mkv", "clip.mkv"}


class Untimed:
    """A stream of x265's as it may be after one picture: memory that nobody wrote is a time."""

    def encode(self, picture: object) -> list[av.Packet[Any]]:
        if picture is not None:
            return []
        packet = av.Packet(b"picture")
        packet.pts, packet.dts = 80, -4_468_862_132_678_726_709
        return [packet]


def test_decoding_times_that_x265_makes_up_are_not_written(plain: ClipInfo) -> None:
    settings = EncodeSettings(encoders.ENCODERS["hevc"], "matroska", "veryfast")
    pictures, stream = PictureEncoder(plain, settings), cast("Any", Untimed())
    assert not pictures.coded(stream, av.VideoFrame(96, 64, "yuv420p"))
    (packet,) = pictures.coded(stream, None)
    assert (packet.pts, packet.dts) == (80, 80)


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
@pytest.mark.parametrize("frames", [1, 2, 3])
async def test_hevc_of_very_few_frames_is_whole(
    frames: int, name: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    plain = ("x265-params", "log-level=0:bframes=0")
    source = make_clip(name, replace(HEVC, frames=frames, options=(HEVC.options[0], plain)))
    config = PipelineConfig.model_validate({"encode": {"splice": "off"}})
    await Pipeline(config).process(source, tmp_path / f"out-{name}")
    assert times(tmp_path / f"out-{name}") == times(source)
    with av.open(str(tmp_path / f"out-{name}")) as result:
        decoded = [packet.dts for packet in result.demux(video=0) if packet.dts is not None]
    assert all(abs(dts) < 1_000_000 for dts in decoded)


def rewritten(source: Path, target: Path, change: str) -> Path:
    """A copy whose parameter sets say something else."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        change_sets = BitStreamFilterContext(f"hevc_metadata={change}", stream, copy)
        for packet in before.demux(stream):
            for changed in change_sets.filter(packet if packet.size else None):
                changed.stream = copy
                after.mux(changed)
    return target
