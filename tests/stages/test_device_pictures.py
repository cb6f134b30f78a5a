"""Small pictures from where a GPU decoded them; planes in memory, handed out alike, stand in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sorawm_pipeline import Pipeline, PipelineConfig, job, warm
from sorawm_pipeline.hardware.signals import host_signals
from sorawm_pipeline.media.clip import ClipInfo, Colour, probe
from sorawm_pipeline.media.display import Display
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.report import ClipReport, DecoderReport
from sorawm_pipeline.stages import decode, device_pictures, encode
from sorawm_pipeline.stages.device_pictures import MOST_BYTES, gpu_for
from sorawm_pipeline.stages.small_pictures import SmallPictures, stacked
from sorawm_pipeline.vision.detector import Detection, NoDetector
from tests.clips import LIMITS, Clip, times
from tests.conftest import WhiteDetector

MakeClip = Callable[[str, Clip], Path]
FRAMES = 40
BT709, BT2020, UNKNOWN = 1, 9, 2


class HalfSize(NoDetector):
    def input_size(self, width: int, height: int) -> tuple[int, int]:
        return width // 2, height // 2


def waves(width: int, height: int) -> NDArray[np.float64]:
    """Slow ones of every colour, (h, w, 3)."""
    y, x = np.mgrid[0:height, 0:width] / 24
    return np.stack([np.sin(x), np.sin(y), np.cos(x + y)], -1) * 90 + 128


def coloured(width: int, height: int, pixels: str, matrix: int, *, full: bool) -> av.VideoFrame:
    """The waves as a decoder hands them out."""
    rgb = np.rint(waves(width, height)).astype(np.uint8)
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    picture = picture.reformat(
        format=pixels,
        dst_colorspace={BT709: 1, BT2020: 9, UNKNOWN: 5}[matrix],
        dst_color_range=2 if full else 1,
    )
    picture.colorspace, picture.color_range = matrix, 2 if full else 1
    return picture


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ClipInfo:
    return probe(Clip(2).write(tmp_path_factory.mktemp("plain") / "clip.mkv"), LIMITS)


@pytest.mark.parametrize("pixels", ["nv12", "p010le"])
@pytest.mark.parametrize("matrix", [BT709, BT2020, UNKNOWN])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "turned", [(False, False, False), (True, True, False), (False, True, True)]
)
def test_they_show_what_was_drawn_as_libav_s_do(
    pixels: str, matrix: int, full: bool, turned: tuple[bool, bool, bool], plain: ClipInfo
) -> None:
    clip = replace(
        plain, display=Display(160, 96, *turned), colour=Colour(2, 2, matrix, 2 if full else 1)
    )
    small = SmallPictures(clip, HalfSize())
    picture = coloured(160, 96, pixels, matrix, full=full)
    there, here = small.of(picture, picture), small.in_memory(picture)
    assert isinstance(there, torch.Tensor)
    assert small.failure is None
    assert there.shape == here.shape
    drawn = clip.display.upright(waves(160, 96).reshape(48, 2, 80, 2, 3).mean((1, 3)))
    assert np.abs(there.numpy() - drawn).mean() < 1.2
    assert np.abs(here - drawn).mean() < 3, "libav's own, which are coarser"


def test_what_cannot_be_read_there_is_read_in_memory_from_then_on(plain: ClipInfo) -> None:
    small = SmallPictures(plain, HalfSize())
    semi = coloured(96, 64, "nv12", UNKNOWN, full=False)
    packed = coloured(96, 64, "yuv444p", UNKNOWN, full=False)
    images = [small.of(semi, semi), small.of(packed, packed), small.of(semi, semi)]
    assert [type(image) for image in images] == [torch.Tensor, np.ndarray, np.ndarray]
    assert small.failure is not None
    assert small.failure.startswith("ValueError")
    assert isinstance(stacked(images[:1]), torch.Tensor)
    together = stacked(images)
    assert isinstance(together, np.ndarray)
    assert together.shape == (3, 32, 48, 3)


@pytest.mark.parametrize(
    ("accelerator", "detector", "waiting", "gpu", "reason"),
    [
        ("cuda", "cuda:1", 1, 1, ""),
        ("cuda", "cuda", MOST_BYTES, 0, ""),
        ("cuda", "cuda:0", MOST_BYTES + 1, None, "512 MiB of them would wait on the GPU"),
        ("cuda", "cpu", 1, None, "the detector runs on cpu"),
        ("vaapi", "cuda:0", 1, None, "pictures are decoded by vaapi, not by CUDA"),
        (None, "cuda:0", 1, None, "pictures are decoded by software, not by CUDA"),
    ],
)
def test_only_where_both_are_cuda(
    accelerator: str | None, detector: str, waiting: int, gpu: int | None, reason: str
) -> None:
    assert gpu_for(accelerator, detector, waiting) == (gpu, reason)


class OnCuda(WhiteDetector):
    """Says that it runs on a GPU, and takes tensors."""

    device = "cuda:0"
    given: list[type]

    def detect(self, images: NDArray[np.uint8] | torch.Tensor) -> list[list[Detection]]:
        self.given = [*getattr(self, "given", []), type(images)]
        return super().detect(np.asarray(images))


class Cuda:
    """A decoder that leaves pictures on its device; what they are is its own affair."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, unreadable: bool = False) -> None:
        self.devices: list[dict[str, Any]] = []
        self.down = 0
        read = decode.Decode._pictures

        def semi_planar(stage: decode.Decode, *args: Any) -> Any:
            for picture in read(stage, *args):
                yield picture.reformat(format="nv12") if stage.accelerator else picture

        def brought_down(picture: av.VideoFrame) -> av.VideoFrame:
            self.down += 1
            return picture.reformat(format="yuv420p")

        def unread(*_: object) -> None:
            raise RuntimeError("CUDA error: no such device")

        monkeypatch.setattr(warm.WarmDetector, "_readings", lambda *_: (host_signals(None), None))
        monkeypatch.setattr(job, "accelerator_for", lambda _: ("cuda", []))
        monkeypatch.setattr(decode, "HWAccel", lambda *_, **told: self.devices.append(told))
        monkeypatch.setattr(decode, "brought_down", brought_down)
        monkeypatch.setattr(decode.Decode, "_pictures", semi_planar)
        if unreadable:
            monkeypatch.setattr(device_pictures.DevicePictures, "of", unread)


def decoder_of(report: ClipReport) -> DecoderReport:
    assert report.decoder is not None
    return report.decoder


async def cleaned(source: Path, target: Path) -> ClipReport:
    config = {
        "decode": {"hardware": True},
        "detect": {"scout": "off"},
        "inpaint": {"method": "none"},
        "encode": {"codec": "ffv1"},
    }
    return await Pipeline(PipelineConfig.model_validate(config)).process(source, target)


async def test_the_detector_gets_what_lies_on_the_gpu(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, cuda = OnCuda(), Cuda(monkeypatch)
    monkeypatch.setattr(warm, "_load", lambda _: (detector, 0.4))
    encode_one, left = encode.Encode._encode, list[object]()

    def noted(self: encode.Encode, frame: Frame) -> None:
        left.append(frame.on_device)
        encode_one(self, frame)

    monkeypatch.setattr(encode.Encode, "_encode", noted)
    source = make_clip("clip.mkv", Clip(FRAMES))
    report = await cleaned(source, tmp_path / "device.mkv")
    assert decoder_of(report) == DecoderReport(device="cuda", kept_on_device=True)
    assert set(detector.given) == {torch.Tensor}
    assert cuda.devices == [{"device": "0", "allow_software_fallback": False, "is_hw_owned": True}]
    assert cuda.down == FRAMES
    assert left == [None] * FRAMES, "nothing stays there once it was looked at"
    assert times(tmp_path / "device.mkv") == times(source)
    detector.device = "cpu"
    plain = await cleaned(source, tmp_path / "host.mkv")
    assert decoder_of(plain) == DecoderReport(device="cuda", not_kept="the detector runs on cpu")
    assert detector.given[-1] is np.ndarray
    assert plain.marks == report.marks
    assert cuda.down == FRAMES


async def test_a_gpu_that_cannot_be_read_is_told_and_costs_no_frame(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = OnCuda()
    Cuda(monkeypatch, unreadable=True)
    monkeypatch.setattr(warm, "_load", lambda _: (detector, 0.4))
    report = await cleaned(make_clip("clip.mkv", Clip(FRAMES)), tmp_path / "out.mkv")
    reason = "RuntimeError: CUDA error: no such device"
    assert decoder_of(report) == DecoderReport(device="cuda", not_kept=reason)
    assert set(detector.given) == {np.ndarray}
    assert report.frames.encoded == FRAMES
