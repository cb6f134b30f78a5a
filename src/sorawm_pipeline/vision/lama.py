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
from sorawm_pipeline.vision.cpu_networks import session_options
from sorawm_pipeline.vision.grid import from_rgb, to_rgb
from sorawm_pipeline.vision.restore import BLIND_CONTEXT, Region, in_groups
from sorawm_pipeline.vision.weights import digest_of

Floats = NDArray[np.float32]
Network = Callable[[Floats, Floats], Floats]
"""Pictures (n, 3, h, w) and masks (n, 1, h, w), 1 where hidden, to pictures."""

MODULO = 8
"""Sides of its input are multiples of it."""

TRIAL = 64
"""Side of the picture that new weights are tried with, unless they know but one size."""

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
        self._size: tuple[int, int] | None = None
        try:
            if suffix == ".onnx":
                self._network, self._size = _onnx(path)
            else:
                self._network = _torchscript(path, device)
            self._top = self._tried()
        except Exception as error:  # each runtime has its own for a bad file
            raise ModelError(f"{path} is no network that can be loaded: {error}") from error

    def _tried(self) -> float:
        """The value that white has in what the network gives: some give 1, some 255.

        Raises:
            ValueError: it does not give a picture for a picture.
        """
        high, wide = self._size or (TRIAL, TRIAL)
        grey = np.full((1, 3, high, wide), 0.5, np.float32)
        mask = np.zeros((1, 1, high, wide), np.float32)
        mask[:, :, : high // 4, : wide // 4] = 1
        given = self._network(grey, mask)
        if given.shape != grey.shape:
            raise ValueError(f"for a picture {grey.shape} it gives {given.shape}")
        return 255.0 if float(np.median(given)) > 2 else 1.0

    def fill(self, regions: Sequence[Region]) -> list[Patch]:
        return in_groups(
            regions, lambda region: region.planes[0].shape, lambda _, same: self._filled(same)
        )

    def _filled(self, regions: Sequence[Region]) -> list[Patch]:
        pictures = np.stack([to_rgb(region.planes, self._layout) for region in regions])
        masks = np.stack([_hidden(region) for region in regions])
        output = self._painted(pictures, masks.astype(np.float32))
        return [
            region.hole.patch(from_rgb(picture, region.planes, self._layout))
            for region, picture in zip(regions, output.clip(0, 1), strict=True)
        ]

    def _painted(self, pictures: Floats, masks: Floats) -> Floats:
        """The network's pictures (n, 3, h, w), 0..1, made to fit its input and cut again."""
        high, wide = pictures.shape[2:]
        if self._size is not None and (high > self._size[0] or wide > self._size[1]):
            share = min(self._size[0] / high, self._size[1] / wide)
            size = int(high * share), int(wide * share)
            small = self._painted(_scaled(pictures, size), np.ceil(_scaled(masks, size)))
            return _scaled(small, (high, wide))
        whole = self._size or (high + -high % MODULO, wide + -wide % MODULO)
        edges = [(0, 0), (0, 0), (0, whole[0] - high), (0, whole[1] - wide)]
        output = self._network(np.pad(pictures, edges, "reflect"), np.pad(masks, edges, "reflect"))
        return output[:, :, :high, :wide] / np.float32(self._top)


def _scaled(pictures: Floats, size: tuple[int, int]) -> Floats:
    """Pictures (n, c, h, w) in another size (h, w)."""
    smaller = size[0] < pictures.shape[2]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    out = np.empty((*pictures.shape[:2], *size), np.float32)
    for source, target in zip(pictures, out, strict=True):
        for channel, plane in enumerate(source):
            target[channel] = cv2.resize(plane, size[::-1], interpolation=how)
    return out


def _hidden(region: Region) -> NDArray[np.bool_]:
    """The pixels (1, h, w) of which some plane is hidden: upsampled chroma reaches over luma."""
    high, wide = region.planes[0].shape
    planes = [
        cv2.resize(mask, (wide, high), interpolation=cv2.INTER_LINEAR) > 0
        for mask in region.hole.masks
    ]
    return np.asarray(np.any(planes, axis=0))[None]


def _onnx(path: Path) -> tuple[Network, tuple[int, int] | None]:
    """The network, and the only size (h, w) of pictures that it knows, if there is one."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(path), session_options(), providers=["CPUExecutionProvider"]
    )
    inputs = session.get_inputs()
    if len(inputs) != 2:
        raise ValueError(f"it has {len(inputs)} input(s), not a picture and a mask")
    first, second = (entry.name for entry in inputs)
    count, _, high, wide = inputs[0].shape
    size = (high, wide) if isinstance(high, int) and isinstance(wide, int) else None

    def run(pictures: Floats, masks: Floats) -> Floats:
        at_once = count if isinstance(count, int) else len(pictures)
        parts = [
            session.run(None, {first: pictures[n : n + at_once], second: masks[n : n + at_once]})[0]
            for n in range(0, len(pictures), at_once)
        ]
        return np.asarray(np.concatenate(parts), np.float32)

    return run, size


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
