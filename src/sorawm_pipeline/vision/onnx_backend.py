"""Detectors as ONNX files on the CPU, without torch, which takes seconds and half a gigabyte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision.cpu_forms import fastest, openvino_integers
from sorawm_pipeline.vision.cpu_networks import CpuNetwork, CpuRuntime, OnnxNetwork, Precision
from sorawm_pipeline.vision.weights import Weights

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

SAMPLE = 1, 3, 640, 352
"""What forms of a network are tried with, if it takes pictures of any size."""


class OnnxBackend:
    """A detector as Ultralytics exports it: RGB (n, 3, h, w), 0..1, to boxes.

    Attributes:
        stride: input sides must be multiples of it, pixels.
        fixed: (width, height) that it was exported for, None if any will do.
        fallback: why it runs in no faster form, if that was asked for, else None.
    """

    device = "cpu"

    def __init__(
        self,
        weights: Weights,
        threads: int | None,
        int8: Weights | None = None,
        form: Precision | None = "fp32",
    ) -> None:
        """Load the network and what it says of itself.

        Args:
            weights: an ONNX file.
            threads: for one call; None leaves it to the runtime.
            int8: the same network in 8-bit integers, if there is such a file.
            form: see `Detector`.

        Raises:
            ModelError: it cannot be loaded, or is made for another task.
        """
        network = OnnxNetwork(weights, threads)
        said = network.metadata
        task = said.get("task", "detect")
        if task != "detect":
            raise ModelError(f"{weights.path} is made for the task {task}, not for detection")
        shape = network.input_shape
        if len(shape) != 4 or shape[1] != 3:
            raise ModelError(f"{weights.path} takes {shape}, not RGB pictures (n, 3, h, w)")
        stride = said.get("stride", "")
        self.stride = int(stride) if stride.isdigit() else weights.stride
        count, _, height, width = shape
        self.fixed = (width, height) if width is not None and height is not None else None
        self._most = count
        self._network: CpuNetwork = network
        self._room = np.empty((0, 3, 0, 0), np.float32)
        self.fallback: str | None = None
        if int8 is not None:
            forms = [openvino_integers(int8, threads)]
            self._network, self.fallback = fastest(network, ground(), forms, form, misjudged)
        elif form == "int8":
            self.fallback = "there is no file of these weights in 8-bit integers"

    @property
    def runtime(self) -> CpuRuntime:
        return self._network.runtime

    @property
    def precision(self) -> Precision:
        return self._network.precision

    @property
    def network(self) -> CpuNetwork:
        """In the form that was taken."""
        return self._network

    def __call__(self, images: NDArray[np.uint8] | torch.Tensor) -> Floats:
        """What the network gives for pictures (n, h, w, 3), RGB: (n, ...)."""
        assert isinstance(images, np.ndarray)  # tensors are for detectors on CUDA
        planes = self._planes(*images.shape[:3])
        planes[...] = images.transpose(0, 3, 1, 2)
        planes *= np.float32(1 / 255)
        if self._most is None or self._most == len(planes):
            return self._network(planes)
        return np.concatenate([self._network(one[None]) for one in planes])

    def _planes(self, count: int, height: int, width: int) -> Floats:
        """Room for the network's input, the same again: fresh memory takes longer than filling."""
        if len(self._room) < count or self._room.shape[2:] != (height, width):
            self._room = np.empty((count, 3, height, width), np.float32)
        return self._room[:count]


def ground() -> Floats:
    """A soft picture (1, 3, h, w), 0..1, darker to one side, with a pale bar."""
    _, _, high, wide = SAMPLE
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32) / high
    picture = 0.2 + 0.4 * y + 0.3 * x + 0.2 * (np.abs(y - 0.5) < 0.02)
    return np.broadcast_to(picture, SAMPLE).astype(np.float32)


def misjudged(one: Floats, other: Floats) -> float:
    """Largest difference of scores: boxes (n, 4 and scores, anchors) of nothing mean nothing."""
    return float(np.abs(one[:, 4:] - other[:, 4:]).max())
