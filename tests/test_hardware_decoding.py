"""Devices that decode: all are tried, and a clip is whole when they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, job
from sorawm_pipeline.errors import InputError
from sorawm_pipeline.hardware.codecs import ACCELERATORS, probe_codecs
from sorawm_pipeline.report import ClipReport, DecoderReport
from sorawm_pipeline.stages import decode
from tests.clips import Clip, pictures, times

MakeClip = Callable[[str, Clip], Path]
FRAMES = 40
IN_HARDWARE = PipelineConfig.model_validate({"decode": {"hardware": True}})
pytestmark = pytest.mark.usefixtures("detectors")


def decoder_of(report: ClipReport) -> DecoderReport:
    assert report.decoder is not None
    return report.decoder


async def test_where_no_device_decodes_software_does_and_the_report_says_why(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    if any(probe.works for probe in probe_codecs() if probe.kind == "accelerator"):
        pytest.skip("this machine decodes in hardware")
    source = make_clip("clip.mp4", Clip(FRAMES))
    found = decoder_of(await Pipeline(IN_HARDWARE).process(source, tmp_path / "out.mp4"))
    assert found.device is None
    assert [tried.codec for tried in found.tried] == list(ACCELERATORS)
    assert all(tried.error for tried in found.tried)
    assert times(tmp_path / "out.mp4") == times(source)


@pytest.mark.parametrize("device", ACCELERATORS)
async def test_a_device_that_does_not_open_falls_back(
    device: str, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(probe.works for probe in probe_codecs() if probe.name == device):
        pytest.skip(f"this machine decodes by {device}")
    monkeypatch.setattr(job, "accelerator_for", lambda _: (device, []))
    source = make_clip("clip.mp4", Clip(FRAMES))
    found = decoder_of(await Pipeline(IN_HARDWARE).process(source, tmp_path / "out.mp4"))
    assert found.device is None
    assert [tried.codec for tried in found.tried] == [device]
    assert times(tmp_path / "out.mp4") == times(source)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Software that hands out what devices do: the same samples, luma and then chroma by turns."""
    read = decode.Decode._pictures

    def semi_planar(self: decode.Decode, *args: object) -> Iterator[av.VideoFrame]:
        for picture in read(self, *args):  # type: ignore[arg-type]
            yield picture.reformat(format="nv12") if self.accelerator else picture

    monkeypatch.setattr(job, "accelerator_for", lambda _: ("cuda", []))
    monkeypatch.setattr(decode, "HWAccel", lambda *_, **__: None)
    monkeypatch.setattr(decode.Decode, "_pictures", semi_planar)


@pytest.mark.usefixtures("stand_in")
async def test_pictures_of_a_device_are_the_same_pictures(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    config = {"encode": {"codec": "ffv1"}, "inpaint": {"method": "none"}}
    plain = PipelineConfig.model_validate(config)
    device = PipelineConfig.model_validate(config | {"decode": {"hardware": True}})
    source = make_clip("clip.mkv", Clip(FRAMES))
    await Pipeline(plain).process(source, tmp_path / "plain.mkv")
    report = await Pipeline(device).process(source, tmp_path / "device.mkv")
    assert decoder_of(report) == DecoderReport(device="cuda", not_kept="the detector runs on cpu")
    before, after = pictures(tmp_path / "plain.mkv"), pictures(tmp_path / "device.mkv")
    assert [[p.tobytes() for p in planes] for planes in before] == [
        [p.tobytes() for p in planes] for planes in after
    ]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("dies_at", [0, 1, 17, FRAMES - 1])
async def test_a_device_that_dies_in_mid_clip_loses_no_frame(
    dies_at: int, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unchanged = decode.Decode._check_unchanged

    def dying(self: decode.Decode, picture: av.VideoFrame, index: int) -> None:
        if self.accelerator and index == dies_at:
            raise InputError("the device is gone")
        unchanged(self, picture, index)

    monkeypatch.setattr(decode.Decode, "_check_unchanged", dying)
    source = make_clip("clip.mp4", Clip(FRAMES))
    report = await Pipeline(IN_HARDWARE).process(source, tmp_path / "out.mp4")
    (tried,) = decoder_of(report).tried
    assert tried.error == "decoding by cuda failed: the device is gone"
    assert (report.frames.decoded, report.frames.encoded) == (FRAMES, FRAMES)
    assert times(tmp_path / "out.mp4") == times(source)
    assert [path.name for path in tmp_path.rglob(".sorawm-*")] == []


@pytest.mark.usefixtures("stand_in")
async def test_a_damaged_clip_is_still_told(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mkv", Clip(FRAMES))
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    source.write_bytes(bytes(data))
    plain = await Pipeline().attempt(source, tmp_path / "a.mkv")
    device = await Pipeline(IN_HARDWARE).attempt(source, tmp_path / "b.mkv")
    assert plain.error == device.error
    assert plain.status == device.status
