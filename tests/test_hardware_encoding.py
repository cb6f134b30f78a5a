"""Encoders in hardware: all that the build knows are tried, and a clip is whole when they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from av.codec import Codec
from av.container import OutputContainer

from sorawm_pipeline import Pipeline, PipelineConfig, clip_run, job
from sorawm_pipeline.hardware.codecs import ENCODERS, MAKERS, UPLOADED, CodecProbe, probe_codecs
from sorawm_pipeline.media import hardware_encoders
from sorawm_pipeline.media.encoders import ENCODERS as SOFTWARE
from sorawm_pipeline.media.encoders import PRESETS, EncoderChoice, pixel_format_for
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.hardware_encoders import HARDWARE, hardware_choice, hardware_options
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.planes import PixelLayout, layout_of
from sorawm_pipeline.report import ClipReport, EncoderReport
from sorawm_pipeline.stages import encode, picture_encoder
from tests.clips import Clip, packets, times

MakeClip = Callable[[str, Clip], Path]
FRAMES = 40


def compiled_in(name: str) -> bool:
    try:
        Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


HERE = sorted(name for name in HARDWARE if compiled_in(name))
IN_HARDWARE = PipelineConfig.model_validate({"encode": {"hardware": True}})


def encoder_of(report: ClipReport) -> EncoderReport:
    assert report.encoder is not None
    return report.encoder


def test_every_encoder_in_hardware_of_this_build_is_known() -> None:
    built = {name for name in av.codecs_available if name.endswith(MAKERS) and compiled_in(name)}
    ours = {name for name in built if name.rpartition("_")[0] in ENCODERS}
    assert ours
    assert ours == set(HERE)


@pytest.mark.usefixtures("detectors")
async def test_where_no_hardware_works_software_encodes_and_the_report_says_why(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    if any(p.works and p.hardware and p.kind == "encoder" for p in probe_codecs()):
        pytest.skip("this machine encodes in hardware")
    source = make_clip("clip.mp4", Clip(FRAMES, audio=True))
    found = encoder_of(await Pipeline(IN_HARDWARE).process(source, tmp_path / "out.mp4"))
    assert (found.codec, found.hardware) == ("libx264", False)
    assert [tried.codec for tried in found.tried] == [f"h264_{maker}" for maker in MAKERS]
    assert all(tried.error for tried in found.tried)
    assert times(tmp_path / "out.mp4") == times(source)


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize("name", HERE)
async def test_an_encoder_that_does_not_open_falls_back(
    name: str, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is believed to work, and fails where libav opens it for the clip."""
    codec = next(codec for codec, names in ENCODERS.items() if name in names)
    if any(probe.works for probe in probe_codecs() if probe.name == name):
        pytest.skip(f"this machine has {name}")
    claim = (CodecProbe("encoder", codec, name),)
    monkeypatch.setattr(hardware_encoders, "probe_codecs", lambda: claim)
    software = {"libsvtav1": (("preset", "13"),), "libvpx-vp9": (("cpu-used", "8"),)}
    maker = SOFTWARE[codec].encoder
    made = Clip(8, codec=maker, options=software.get(maker, ()))
    if codec == "mjpeg":
        made = replace(made, pix_fmt="yuvj420p")
    source = make_clip("clip.mkv", made)
    found = encoder_of(await Pipeline(IN_HARDWARE).process(source, tmp_path / "out.mkv"))
    assert (found.codec, found.hardware) == (maker, False)
    assert [tried.codec for tried in found.tried] == [name]
    assert len(times(tmp_path / "out.mkv")) == 8
    assert [path.name for path in tmp_path.rglob(".sorawm-*")] == []


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize("dies_at", [0, 1, 17, FRAMES - 1])
async def test_an_encoder_that_dies_in_mid_clip_loses_no_frame(
    dies_at: int, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libx264 stands in for one in hardware. It dies with all frames that it holds."""

    def stand_in(
        software: EncoderChoice, layout: PixelLayout
    ) -> tuple[EncoderChoice, list[tuple[str, str]]]:
        return software, [("h264_qsv", "no driver")]

    coded = encode.Encode._coded
    asked = 0

    def dying(self: encode.Encode, picture: av.VideoFrame | None) -> object:
        nonlocal asked
        asked += 1
        if asked == dies_at + 1:
            assert self._video is not None
            self._video.encode(None)  # the encoder ends, what it held is lost
        return coded(self, picture)

    monkeypatch.setattr(job, "hardware_choice", stand_in)
    monkeypatch.setattr(picture_encoder, "HARDWARE", {"libx264"})
    monkeypatch.setattr(clip_run, "HARDWARE", set())
    monkeypatch.setattr(picture_encoder, "hardware_options", lambda *_: {"preset": "ultrafast"})
    monkeypatch.setattr(encode.Encode, "_coded", dying)
    monkeypatch.setattr(job, "survey", _not_surveyed)
    source = make_clip("clip.mp4", Clip(FRAMES, audio=True))
    report = await Pipeline(IN_HARDWARE).process(source, tmp_path / "out.mp4")
    found = encoder_of(report)
    assert asked > FRAMES + 1, "the clip was begun again"
    assert [tried.codec for tried in found.tried] == ["h264_qsv", "libx264"]
    assert "failed" in found.tried[-1].error
    assert report.frames.encoded == FRAMES
    assert times(tmp_path / "out.mp4") == times(source)
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")
    assert [path.name for path in tmp_path.rglob(".sorawm-*")] == []


def _not_surveyed(*_: object) -> object:
    raise Unfit("not asked here")


class Uploading:
    """An output whose VA-API encoder is libx264; notes what it was given, may lack the device."""

    def __init__(self, output: OutputContainer, devices: list[object], works: bool) -> None:
        self._output, self._devices, self._works = output, devices, works

    def add_stream(self, name: str, hwaccel: object, **wanted: Any) -> av.VideoStream:
        self._devices.append(hwaccel)
        if name.endswith("vaapi"):
            if not self._works:
                raise FileNotFoundError(2, "No VA display found")
            name, wanted["options"] = "libx264", {"preset": "ultrafast"}
        stream = self._output.add_stream(name, **wanted)
        assert isinstance(stream, av.VideoStream)
        return stream


@pytest.mark.usefixtures("detectors")
@pytest.mark.parametrize("works", [True, False])
async def test_pictures_are_brought_to_a_va_api_device(
    works: bool, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = (CodecProbe("encoder", "h264", "h264_vaapi"),)
    add, devices, given = picture_encoder.PictureEncoder.add_stream, list[object](), set[str]()
    prepare = picture_encoder.PictureEncoder.prepared

    def uploading(
        self: picture_encoder.PictureEncoder, output: OutputContainer, metadata: dict[str, str]
    ) -> av.VideoStream:
        wrapped: Any = Uploading(output, devices, works)
        return add(self, wrapped, metadata)

    def noted(self: picture_encoder.PictureEncoder, frame: Frame) -> av.VideoFrame:
        picture = prepare(self, frame)
        given.add(picture.format.name)
        return picture

    monkeypatch.setattr(hardware_encoders, "probe_codecs", lambda: claim)
    monkeypatch.setattr(picture_encoder, "HWAccel", lambda device: device)
    monkeypatch.setattr(picture_encoder.PictureEncoder, "add_stream", uploading)
    monkeypatch.setattr(picture_encoder.PictureEncoder, "prepared", noted)
    source = make_clip("clip.mp4", Clip(FRAMES, audio=True))
    config = {"encode": {"hardware": True, "quality": "crf:20", "splice": "off"}}
    report = await Pipeline(PipelineConfig.model_validate(config)).process(
        source, tmp_path / "out.mp4"
    )
    found = encoder_of(report)
    assert (found.codec, found.hardware) == (("h264_vaapi", True) if works else ("libx264", False))
    reason = "h264_vaapi does not open its device: No VA display found"
    assert [tried.error for tried in found.tried] == ([] if works else [reason])
    assert devices == (["vaapi"] if works else ["vaapi", None])
    assert given == ({"nv12"} if works else {"yuv420p"})
    assert times(tmp_path / "out.mp4") == times(source)
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")


@pytest.mark.parametrize(
    ("encoder", "layout", "format_name", "loses_nothing"),
    [
        ("h264_vaapi", "yuv420p", "nv12", True),
        ("hevc_vaapi", "yuv420p10le", "p010le", True),
        ("h264_vaapi", "yuv420p10le", "nv12", False),
        ("av1_vaapi", "yuv444p", "nv12", False),
    ],
)
def test_what_is_uploaded(
    encoder: str,
    layout: str,
    format_name: str,
    loses_nothing: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = encoder.partition("_")[0]
    claim = (CodecProbe("encoder", codec, encoder),)
    monkeypatch.setattr(hardware_encoders, "probe_codecs", lambda: claim)
    assert pixel_format_for(encoder, layout) == format_name
    choice, _ = hardware_choice(SOFTWARE[codec], layout_of(layout))
    assert (choice is not None) is loses_nothing


def test_every_va_api_encoder_has_its_formats_and_a_scale_for_its_quality() -> None:
    known = {name for names in ENCODERS.values() for name in names if name.endswith("vaapi")}
    assert known == set(UPLOADED)
    told = {name: hardware_options(name, "medium", 20.0) for name in sorted(known)}
    assert told["h264_vaapi"] == told["hevc_vaapi"] == {"rc_mode": "CQP", "qp": "20"}
    assert told["av1_vaapi"] == told["vp9_vaapi"] == {"rc_mode": "CQP", "global_quality": "81"}
    assert told["vp8_vaapi"] == {"rc_mode": "CQP", "global_quality": "40"}
    qualities = [
        int(hardware_options("mjpeg_qsv", "medium", q)["global_quality"]) for q in (2, 8, 31)
    ]
    assert qualities == [88, 50, 13]
    assert hardware_options("mjpeg_vaapi", "medium", 2.0) == {"global_quality": str(118 * 88)}


def test_the_first_that_works_and_loses_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = (
        CodecProbe("encoder", "hevc", "hevc_nvenc", "no driver"),
        CodecProbe("encoder", "hevc", "hevc_qsv"),
        CodecProbe("encoder", "hevc", "hevc_amf"),
    )
    monkeypatch.setattr(hardware_encoders, "probe_codecs", lambda: probes)
    choice, tried = hardware_choice(SOFTWARE["hevc"], layout_of("yuv420p"))
    assert choice is not None
    assert choice.encoder == "hevc_qsv"
    assert tried == [("hevc_nvenc", "no driver")]
    lossy, tried = hardware_choice(SOFTWARE["hevc"], layout_of("yuv444p12le"))
    assert lossy is None
    assert [name for name, _ in tried] == ["hevc_nvenc", "hevc_qsv", "hevc_amf"]


@pytest.mark.parametrize("name", sorted(HARDWARE))
def test_a_better_preset_is_never_a_faster_one(name: str) -> None:
    options = [hardware_options(name, preset, 20.0) for preset in PRESETS]
    assert all(isinstance(value, str) for chosen in options for value in chosen.values())
    if name.endswith("nvenc"):
        assert [chosen["preset"] for chosen in options] == sorted(c["preset"] for c in options)
        assert (options[0]["preset"], options[-1]["preset"]) == ("p1", "p7")
    fixed = hardware_options(name, "medium", None)
    assert not {"cq", "global_quality", "qp", "qp_i", "b"} & fixed.keys()
