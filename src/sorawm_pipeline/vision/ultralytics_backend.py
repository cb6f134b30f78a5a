"""Detectors that need Ultralytics or a GPU: torch, TensorRT, OpenVINO folders, ONNX on CUDA."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import DeviceError, ModelError
from sorawm_pipeline.hardware.batch_cap import is_out_of_memory
from sorawm_pipeline.vision import engines
from sorawm_pipeline.vision.compiling import Compiled, filled_up, warm_up
from sorawm_pipeline.vision.cpu_networks import Precision
from sorawm_pipeline.vision.weights import Weights

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
Runtime = Literal["torch", "onnxruntime", "openvino", "tensorrt", "none"]

RUNTIMES: dict[str, Runtime] = {
    "pt": "torch",
    "torchscript": "torch",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "engine": "tensorrt",
}
"""By what Ultralytics calls the formats."""


class UltralyticsBackend:
    """Ultralytics' AutoBackend, which is published without types.

    The first one of a process imports torch and Ultralytics, which takes seconds, and keeps
    Ultralytics from the network, from pip and from the user's settings.

    Attributes:
        runtime: that runs the network.
        device: `cpu` or `cuda:n`.
        stride: input sides must be multiples of it, pixels.
        fixed: (width, height) that it was exported for, None if any will do.
    """

    def __init__(
        self,
        weights: Weights,
        device: str,
        *,
        half: bool,
        compiled: bool,
        engine_size: int | None,
        threads: int | None,
    ) -> None:
        """Load the network.

        Args:
            weights: checked.
            device: `cpu` or `cuda[:n]`.
            half: 16-bit floats, on CUDA.
            compiled: by torch.compile, if it runs in torch.
            engine_size: long side in pixels of most pictures, to make it a TensorRT engine on
                CUDA; None: no engine.
            threads: for one call on a CPU; None leaves it to torch.

        Raises:
            ModelError: its network is not a detector.
            DeviceError: the device is not there.
            torch.OutOfMemoryError: the weights do not fit on the device.
            Exception: whatever a runtime says of a bad file.
        """
        prepare_libraries()
        self._reasons: list[str] = []
        self._compiled: Compiled | None = None
        self._most: int | None = None
        place = _place(device, threads)
        backend = None
        if engine_size is not None:
            backend = self._in_tensorrt(weights, place, engine_size, half=half)
        self._backend = backend = backend or _load(weights, place, half=half)
        self.runtime: Runtime = RUNTIMES[backend.format]
        self.device = str(backend.device)
        self.stride = int(backend.stride)
        self.precision: Precision = "fp16" if backend.fp16 else "fp32"
        self.fixed = _fixed_size(backend)
        if compiled and backend.format == "pt":
            network = one_graph(backend.backend.model)
            self._compiled = Compiled(network, cuda=place.type == "cuda")
            backend.backend.model = self._compiled
            warm_up(self, np.zeros((1, 2 * self.stride, 3 * self.stride, 3), np.uint8))
        elif compiled:
            self._reasons.append(f"weights as {backend.format} cannot be compiled")

    @property
    def fallback(self) -> str | None:
        """Why the network does not run in a faster way that was asked for, else None."""
        told = self._compiled.fallback if self._compiled else None
        return "; ".join([*self._reasons, *([told] if told else [])]) or None

    def __call__(self, images: NDArray[np.uint8] | torch.Tensor) -> Floats:
        """What the network gives for pictures (n, h, w, 3), RGB: (n, ...)."""
        if self._most is not None and len(images) > self._most:
            parts = range(0, len(images), self._most)
            return np.concatenate([self(images[first : first + self._most]) for first in parts])
        import torch

        count = len(images)
        with torch.inference_mode():
            # As bytes, a quarter of what floats are, if they travel to a GPU.
            if isinstance(images, np.ndarray):
                images = torch.from_numpy(np.ascontiguousarray(images))
            pixels = images.to(self.device)
            pixels = filled_up(pixels) if self._compiled else pixels
            batch = pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)
            output = self._backend(batch)
            first = output[0] if isinstance(output, (list, tuple)) else output
            return np.asarray(first[:count].float().cpu().numpy(), np.float32)

    def _in_tensorrt(self, weights: Weights, place: torch.device, size: int, *, half: bool) -> Any:
        """The network as an engine, None, with the reason kept, if it cannot be had."""
        try:
            engine = engines.engine_of(weights, place, size, lambda: _network(weights), half=half)
            backend = _load(engine, place, half=half)
        except Exception as error:  # exporters, builders and drivers have their own
            if is_out_of_memory(error):
                raise
            told = next(iter(str(error).strip().splitlines()), type(error).__name__)
            self._reasons.append(f"no TensorRT engine ({told})")
            return None
        self._most = engines.MOST_TOGETHER
        return backend


def _place(device: str, threads: int | None) -> torch.device:
    import torch

    place = torch.device(device)
    if place.type == "cuda" and not (
        torch.cuda.is_available() and (place.index or 0) < torch.cuda.device_count()
    ):
        raise DeviceError(f"there is no {device} on this machine that torch can use", kind="device")
    if place.type == "cuda":
        return torch.device("cuda", place.index or 0)
    if threads:
        torch.set_num_threads(threads)
    return place


def _load(weights: Weights, place: torch.device, *, half: bool) -> Any:
    from ultralytics.nn.autobackend import AutoBackend

    in_torch = weights.format in ("safetensors", "pickle")
    source: Any = _network(weights) if in_torch else str(weights.path)
    backend = AutoBackend(source, device=place, fp16=half and place.type == "cuda", verbose=False)
    if backend.task not in (None, "detect"):
        raise ModelError(f"{weights.path} is made for the task {backend.task}, not for detection")
    return backend.eval()


def _network(weights: Weights) -> torch.nn.Module:
    if weights.format == "safetensors":
        return network_of(weights)
    if weights.format != "pickle":
        raise ModelError(f"weights as {weights.format} are no network of torch")
    from ultralytics.nn.tasks import load_checkpoint

    network: torch.nn.Module = load_checkpoint(weights.path)[0]
    return network


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
    network.task = "detect"  # type: ignore[assignment] # as in a checkpoint; its exporter asks
    return network.eval()


def one_graph(network: Any) -> Any:
    """The network, told to keep nothing between calls and to read no tensor's value.

    Where its head reads one, torch compiles only what lies before and after, in pieces that are
    slower than the whole uncompiled; and what it remembers of the last shape compiles it anew.
    """
    head = network.model[-1]
    if hasattr(head, "stride") and hasattr(head, "dynamic"):
        head.stride, head.dynamic = [float(step) for step in head.stride], True
    return network


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
