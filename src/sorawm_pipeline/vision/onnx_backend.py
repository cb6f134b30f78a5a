"""Detectors as ONNX files on the CPU, without torch, which takes seconds and half a gigabyte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision.cpu_networks import OnnxNetwork
from sorawm_pipeline.vision.weights import Weights

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]


class OnnxBackend:
    """A detector as Ultralytics exports it: RGB (n, 3, h, w), 0..1, to boxes.

    Attributes:
        stride: input sides must be multiples of it, pixels.
        fixed: (width, height) that it was exported for, None if any will do.
    """

    device = "cpu"
    fallback: str | None = None

    def __init__(self, weights: Weights, threads: int | None) -> None:
        """Load the network and what it says of itself.

        Raises:
            ModelError: it cannot be loaded, or is made for another task.
        """
        self._network = OnnxNetwork(weights, threads)
        said = self._network.metadata
        task = said.get("task", "detect")
        if task != "detect":
            raise ModelError(f"{weights.path} is made for the task {task}, not for detection")
        shape = self._network.input_shape
        if len(shape) != 4 or shape[1] != 3:
            raise ModelError(f"{weights.path} takes {shape}, not RGB pictures (n, 3, h, w)")
        stride = said.get("stride", "")
        self.stride = int(stride) if stride.isdigit() else weights.stride
        count, _, height, width = shape
        self.fixed = (width, height) if width is not None and height is not None else None
        self._most = count

    def __call__(self, images: NDArray[np.uint8] | torch.Tensor) -> Floats:
        """What the network gives for pictures (n, h, w, 3), RGB: (n, ...)."""
        assert isinstance(images, np.ndarray)  # tensors are for detectors on CUDA
        planes = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
        np.multiply(images.transpose(0, 3, 1, 2), np.float32(1 / 255), out=planes)
        if self._most is None or self._most == len(planes):
            return self._network(planes)
        return np.concatenate([self._network(one[None]) for one in planes])
