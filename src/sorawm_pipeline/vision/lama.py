"""LaMa and networks like it: a picture with a hole and its mask in, the whole picture out.

Suvorov et al., "Resolution-robust large mask inpainting with Fourier convolutions", 2022. The
weights are the user's own: TorchScript (read by torch's TorchScript loader, never unpickled as
Python objects) or ONNX with the same two inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.media.frame import Patch
from sorawm_pipeline.media.planes import PixelLayout
from sorawm_pipeline.vision.grid import from_rgb, to_rgb
from sorawm_pipeline.vision.onnx_sessions import session_options
from sorawm_pipeline.vision.restore import BLIND_CONTEXT, Region, in_groups
from sorawm_pipeline.vision.weights import digest_of

Floats = NDArray[np.float32]
Network = Callable[[Floats, Floats], Floats]

MODULO = 8
"""Sides of its input are multiples of it."""

TORCHSCRIPT = {".pt", ".pth", ".jit", ".torchscript"}


class Lama:
    """Fills each region by itself; regions of one size go through the network together.

    Args:
        path: `.onnx`, or TorchScript (`.pt`, `.jit`, `.torchscript`).
        sha256: what its digest must be, if known.

    Raises:
        ModelError: missing, not the file that was pinned, or not such a network.
    """

    method = "lama"
    together = 1
    context = BLIND_CONTEXT

    def __init__(
        self, path: Path, layout: PixelLayout, device: str = "cpu", sha256: str | None = None
    ) -> None:
        if not path.is_file():
            raise ModelError(f"no weights at {path}", kind="missing")
        self.weights_sha256: str | None = digest_of(path)
        if sha256 is not None and self.weights_sha256 != sha256.lower():
            raise ModelError(
                f"{path} is not the file that inpaint.sha256 pins: its SHA-256 is "
                f"{self.weights_sha256}"
            )
        self._layout = layout
        suffix = path.suffix.lower()
        if suffix != ".onnx" and suffix not in TORCHSCRIPT:
            raise ModelError(f"{path} is neither ONNX nor TorchScript")
        self.runtime = "onnxruntime" if suffix == ".onnx" else "torch"
        self.device = "cpu" if suffix == ".onnx" else device
        try:
            self._network = _onnx(path) if suffix == ".onnx" else _torchscript(path, device)
        except Exception as error:  # each runtime has its own for a bad file
            raise ModelError(f"{path} is no network that can be loaded: {error}") from error

    def fill(self, regions: Sequence[Region]) -> list[Patch]:
        return in_groups(
            regions, lambda region: region.planes[0].shape, lambda _, same: self._filled(same)
        )

    def _filled(self, regions: Sequence[Region]) -> list[Patch]:
        pictures = np.stack([to_rgb(region.planes, self._layout) for region in regions])
        masks = np.stack([_hidden(region) for region in regions])
        high, wide = pictures.shape[2:]
        edges = [(0, 0), (0, 0), (0, -high % MODULO), (0, -wide % MODULO)]
        output = self._network(
            np.pad(pictures, edges, "reflect"),
            np.pad(masks, edges, "reflect").astype(np.float32),
        )[:, :, :high, :wide]
        return [
            region.hole.patch(from_rgb(picture, region.planes, self._layout))
            for region, picture in zip(regions, output.clip(0, 1), strict=True)
        ]


def _hidden(region: Region) -> NDArray[np.bool_]:
    """The pixels (1, h, w) of which some plane is hidden: upsampled chroma reaches over luma."""
    high, wide = region.planes[0].shape
    planes = [
        cv2.resize(mask, (wide, high), interpolation=cv2.INTER_LINEAR) > 0
        for mask in region.hole.masks
    ]
    return np.asarray(np.any(planes, axis=0))[None]


def _onnx(path: Path) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), session_options(), providers=["CPUExecutionProvider"]
    )
    first, second = (entry.name for entry in session.get_inputs())

    def run(picture: Floats, mask: Floats) -> Floats:
        return np.asarray(session.run(None, {first: picture, second: mask})[0], np.float32)

    return run


def _torchscript(path: Path, device: str) -> Network:
    import torch

    # torch calls the format deprecated; the published weights are in it.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        module = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]

    def run(picture: Floats, mask: Floats) -> Floats:
        with torch.inference_mode():
            data = (torch.from_numpy(array).to(device) for array in (picture, mask))
            return np.asarray(module(*data).float().cpu().numpy(), np.float32)

    return run
