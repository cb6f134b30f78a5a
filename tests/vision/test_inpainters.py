"""Inpainters that are not built in: LaMa's kind, and those of other packages."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.config_sections import InpaintConfig
from sorawm_pipeline.errors import ConfigError, ModelError
from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.vision.inpainters import plug_in
from sorawm_pipeline.vision.lama import Lama
from sorawm_pipeline.vision.restore import Hole, Region
from sorawm_pipeline.vision.weights import builtin_weights, digest_of

YUV = layout_of("yuv420p")

PLUG_IN = '''
from sorawm_pipeline.vision.restore import Blind


class Grey(Blind):
    """Paints holes grey."""

    method = "grey"

    def __init__(self, config, device, layout):
        self.level = 1 << (layout.depth - 1)

    def filled(self, plane, hole):
        return (plane * (hole == 0) + self.level * (hole > 0)).astype(plane.dtype)


def broken(config, device, layout):
    raise RuntimeError("out of paint")
'''


class Mean(torch.nn.Module):
    """What LaMa takes and gives: holes get the mean colour of the rest."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        mean = (image * (1 - mask)).sum((2, 3), keepdim=True)
        mean = mean / (1 - mask).sum((2, 3), keepdim=True)
        return image * (1 - mask) + mean * mask


class Grey(torch.nn.Module):
    """Takes what LaMa takes and gives something else."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (image * mask).mean(1)


def region(context: int = 64, width: int = 300) -> Region:
    hole = Hole(Box(100, 80, 160, 101), None, (), 4, width, 240, YUV, context)
    planes = []
    for index, level in enumerate((90, 120, 140)):
        area = YUV.plane_box(hole.box, index)
        plane = np.full((area.height, area.width), level, np.uint8)
        plane[hole.masks[index] > 0] = 235
        planes.append(plane)
    return Region(0, hole, tuple(planes))


@pytest.fixture
def torchscript(tmp_path: Path) -> Path:
    path = tmp_path / "mean.pt"
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        torch.jit.script(Mean()).save(str(path))  # type: ignore[no-untyped-call]
    return path


def test_a_torchscript_network_paints_regions_of_any_size(torchscript: Path) -> None:
    lama = Lama(torchscript, YUV)
    regions = [region(), region(31), region()]
    for here, patch in zip(regions, lama.fill(regions), strict=True):
        assert patch.box == here.hole.box
        for plane, level in zip(patch.planes, (90, 120, 140), strict=True):
            assert np.abs(plane.astype(int) - level).max() <= 8
    assert lama.runtime == "torch"
    assert lama.weights_sha256 == digest_of(torchscript)


def test_weights_are_pinned_and_never_unpickled(torchscript: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"inpaint\.sha256"):
        Lama(torchscript, YUV, sha256="0" * 64)
    Lama(torchscript, YUV, sha256=digest_of(torchscript))
    pickled = tmp_path / "pickled.pt"
    torch.save({"a": 1}, pickled)
    with pytest.raises(ModelError, match="no network that can be loaded"):
        Lama(pickled, YUV)
    (tmp_path / "net.bin").write_bytes(b"?")
    with pytest.raises(ModelError, match="neither"):
        Lama(tmp_path / "net.bin", YUV)
    with pytest.raises(ModelError, match="no weights"):
        Lama(tmp_path / "missing.onnx", YUV)


class Fixed:
    """An `onnxruntime.InferenceSession` that takes one picture of one size and gives 0..255."""

    side = 64
    sizes: ClassVar[list[tuple[int, ...]]] = []

    def __init__(self, *_: object, **__: object) -> None:
        self.sizes.clear()

    def get_inputs(self) -> list[SimpleNamespace]:
        shapes = {"image": [1, 3, self.side, self.side], "mask": [1, 1, self.side, self.side]}
        return [SimpleNamespace(name=name, shape=shape) for name, shape in shapes.items()]

    def run(self, _: None, data: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.sizes.append(data["image"].shape)
        assert data["image"].shape == (1, 3, self.side, self.side)
        image, mask = (torch.from_numpy(data[name]) for name in ("image", "mask"))
        return [255 * Mean()(image, mask).numpy()]


@pytest.mark.parametrize("side", [64, 512])
def test_onnx_of_one_fixed_size_and_another_range_paints_all_regions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, side: int
) -> None:
    monkeypatch.setattr(Fixed, "side", side)
    monkeypatch.setattr("onnxruntime.InferenceSession", Fixed)
    path = tmp_path / "fixed.onnx"
    path.write_bytes(b"a network")
    regions = [region(), region(31), region()]
    for patch in Lama(path, YUV).fill(regions):
        for plane, level in zip(patch.planes, (90, 120, 140), strict=True):
            assert np.abs(plane.astype(int) - level).max() <= 8
    assert len(Fixed.sizes) == 4, "one to try it, one for each region"


def test_a_network_of_another_kind_is_refused_in_words(
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match=r"1 input\(s\), not a picture and a mask"):
        Lama(builtin_weights("onnx", "see-through-fill").path, YUV)
    path = tmp_path / "grey.pt"
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        torch.jit.script(Grey()).save(str(path))  # type: ignore[no-untyped-call]
    with pytest.raises(ModelError, match=r"for a picture .* it gives"):
        Lama(path, YUV)


def test_lama_needs_weights() -> None:
    with pytest.raises((ConfigError, ValueError), match="needs weights"):
        PipelineConfig(inpaint=InpaintConfig(method="lama"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings two inpainters, one of them broken."""
    (tmp_path / "painters.py").write_text(PLUG_IN)
    info = tmp_path / "painters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: painters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sorawm_pipeline.inpainters]\ngrey = painters:Grey\nbroken = painters:broken\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "painters", raising=False)


@pytest.mark.usefixtures("package")
def test_a_plug_in_is_found_by_its_name_and_fills() -> None:
    grey = plug_in(InpaintConfig(method="grey"), "cpu", YUV)
    here = region(12)
    (patch,) = grey.fill([here])
    assert (patch.planes[0][here.hole.masks[0] > 0] == 128).all()
    assert (patch.planes[0][here.hole.masks[0] == 0] == 90).all()


@pytest.mark.usefixtures("package")
def test_a_plug_in_that_fails_is_named() -> None:
    with pytest.raises(ModelError, match="broken of painters:broken cannot be used: out of paint"):
        plug_in(InpaintConfig(method="broken"), "cpu", YUV)


def test_a_method_that_nobody_brings_is_refused() -> None:
    with pytest.raises(ConfigError, match="installed plug-in"):
        PipelineConfig.model_validate({"inpaint": {"method": "magic"}})
