"""Detectors that need Ultralytics or a GPU: torch, TensorRT, OpenVINO folders, ONNX on CUDA."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import DeviceError, ModelError
from sorawm_pipeline.hardware.batch_cap import is_out_of_memory
from sorawm_pipeline.vision.compiling import not_compiled
from sorawm_pipeline.vision.cpu_networks import Precision
from sorawm_pipeline.vision.weights import Weights

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]


class UltralyticsBackend:
    """Ultralytics' AutoBackend, which is published without types.

    The first one of a process imports torch and Ultralytics, which takes seconds, and keeps
    Ultralytics from the network, from pip and from the user's settings.

    Attributes:
        device: `cpu` or `cuda:n`.
        stride: input sides must be multiples of it, pixels.
        fixed: (width, height) that it was exported for, None if any will do.
        fallback: why the network is not compiled although that was asked for, else None.
    """

    def __init__(
        self, weights: Weights, device: str, *, half: bool, compiled: bool, threads: int | None
    ) -> None:
        """Load the network.

        Raises:
            ModelError: its network is not a detector.
            DeviceError: the device is not there.
            torch.OutOfMemoryError: the weights do not fit on the device.
            Exception: whatever a runtime says of a bad file.
        """
        prepare_libraries()
        self._backend = backend = _load(weights, device, half=half, threads=threads)
        self.device = str(backend.device)
        self.stride = int(backend.stride)
        self.precision: Precision = "fp16" if backend.fp16 else "fp32"
        self.fixed = _fixed_size(backend)
        self.fallback: str | None = None
        if compiled and backend.format == "pt":
            backend.backend.model.compile(dynamic=True)
            if (error := self._first_call()) is not None:
                self._backend = _load(weights, device, half=half, threads=threads)
                self.fallback = not_compiled(error)
        elif compiled:
            self.fallback = f"weights as {backend.format} cannot be compiled"

    def __call__(self, images: NDArray[np.uint8] | torch.Tensor) -> Floats:
        """What the network gives for pictures (n, h, w, 3), RGB: (n, ...)."""
        import torch

        with torch.inference_mode():
            # As bytes, a quarter of what floats are, if they travel to a GPU.
            if isinstance(images, np.ndarray):
                images = torch.from_numpy(np.ascontiguousarray(images))
            pixels = images.to(self.device)
            batch = pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)
            output = self._backend(batch)
            first = output[0] if isinstance(output, (list, tuple)) else output
            return np.asarray(first.float().cpu().numpy(), np.float32)

    def _first_call(self) -> Exception | None:
        """What the first call raises: torch compiles then, and compilers fail in many ways."""
        try:
            self(np.zeros((2, 2 * self.stride, 3 * self.stride, 3), np.uint8))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return error
        return None


def _load(weights: Weights, device: str, *, half: bool, threads: int | None) -> Any:
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    place = torch.device(device)
    if place.type == "cuda" and not (
        torch.cuda.is_available() and (place.index or 0) < torch.cuda.device_count()
    ):
        raise DeviceError(f"there is no {device} on this machine that torch can use", kind="device")
    if place.type == "cuda":
        place = torch.device("cuda", place.index or 0)
    elif threads:
        torch.set_num_threads(threads)
    source: Any = str(weights.path)
    if weights.format == "safetensors":
        source = network_of(weights)
    elif weights.format == "pickle":
        from ultralytics.nn.tasks import load_checkpoint

        source = load_checkpoint(weights.path, device=place)[0]
    backend = AutoBackend(source, device=place, fp16=half and place.type == "cuda", verbose=False)
    if backend.task not in (None, "detect"):
        raise ModelError(f"{weights.path} is made for the task {backend.task}, not for detection")
    return backend.eval()


def network_of(weights: Weights) -> torch.nn.Module:
    """Build the network that the architecture YAML describes and fill in the safetensors file."""
    from safetensors.torch import load_file
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import YAML

    if weights.architecture is None:
        raise ModelError(f"{weights.path} has no architecture YAML")
    architecture = YAML.load(weights.architecture)
    architecture.setdefault("scale", next(iter(architecture.get("scales", {"": None}))))
    network: torch.nn.Module = DetectionModel(architecture, ch=3, verbose=False)
    network.load_state_dict(load_file(weights.path))
    return network.eval()


def _fixed_size(backend: Any) -> tuple[int, int] | None:
    """Return the (width, height) that weights were exported for, None if any will do."""
    if backend.format in {"pt", "torchscript"} or backend.dynamic:
        return None
    size = getattr(backend, "imgsz", None)
    if not size:
        return None
    return int(size[1]), int(size[0])


def prepare_libraries() -> None:
    """Import Ultralytics so that it neither downloads, installs nor writes to the home folder.

    It reads its variables when imported. What the user has set is respected, except that
    checkpoints are never unpickled freely.
    """
    if "ultralytics" in sys.modules:
        return
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"
    os.environ.setdefault("ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS", "true")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    if "YOLO_CONFIG_DIR" not in os.environ:
        scratch = tempfile.mkdtemp(prefix="sorawm-ultralytics-")
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = scratch
    import ultralytics.utils

    # Its own handler writes to stdout, which belongs to results.
    logger: logging.Logger = ultralytics.utils.LOGGER
    logger.handlers.clear()
    logger.propagate = True
