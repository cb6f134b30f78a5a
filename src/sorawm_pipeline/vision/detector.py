"""Finding marks in pictures: batched YOLO inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError, PipelineError
from sorawm_pipeline.hardware.batch_cap import is_out_of_memory
from sorawm_pipeline.vision.cpu_networks import Precision
from sorawm_pipeline.vision.onnx_backend import OnnxBackend
from sorawm_pipeline.vision.ultralytics_backend import Runtime, UltralyticsBackend
from sorawm_pipeline.vision.weights import Weights, integers_of

if TYPE_CHECKING:
    import torch

_SAME_MARK = 0.5  # share of the smaller box that two boxes of one mark have in common
_BLEND = 0.6  # boxes at least this share as confident as the best one refine its edges


class _Backend(Protocol):
    """One loaded network: pictures (n, h, w, 3) in, what it says of them out."""

    device: str
    stride: int
    fixed: tuple[int, int] | None

    @property
    def runtime(self) -> Runtime: ...

    @property
    def precision(self) -> Precision: ...

    @property
    def fallback(self) -> str | None: ...

    def __call__(self, images: NDArray[np.uint8] | torch.Tensor) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Detection:
    """One mark in one picture.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the picture given, x right, y down, half-open.
        confidence: 0..1.
    """

    box: tuple[float, float, float, float]
    confidence: float


class Detector:
    """Batched YOLO inference. Not thread-safe: build, use and close it on one thread.

    ONNX weights on the CPU need ONNX Runtime alone; all others torch and Ultralytics.

    Attributes:
        runtime: `torch`, `onnxruntime`, `openvino` or `tensorrt`.
        device: where it really runs, `cpu` or `cuda:n`.
        precision: of its products, `fp32`, `fp16` or `int8`.
        weights_sha256: digest of the weights in use.
        confidence: detections below it are dropped.
        image_size: long side of the network's input, pixels.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        device: str = "cpu",
        confidence: float | None = None,
        image_size: int | None = None,
        half: bool = False,
        compile: bool = False,  # noqa: A002 - as torch and the YAML call it
        tensorrt: bool = False,
        threads: int | None = None,
        form: Precision | None = "fp32",
    ) -> None:
        """Load the weights.

        Args:
            weights: checked weights, see `find_weights`.
            device: `cpu` or `cuda[:n]`.
            confidence: threshold 0..1; None takes the weights' own.
            image_size: long side of the input in pixels; None takes the weights' own. Weights
                exported for one fixed size keep that size.
            half: 16-bit floats, on CUDA only; ignored on CPU, where they are slower.
            compile: torch.compile, for weights that run in torch; ignored elsewhere. Loading then
                takes a minute or more, less where torch finds what it compiled before.
            tensorrt: weights that would run in torch as a TensorRT engine, on CUDA. Loading takes
                minutes the first time; the engine is kept.
            threads: CPU threads for one call; None leaves it to the runtime.
            form: of ONNX weights on a CPU: `fp32` as they are, `int8` in 8-bit integers if these
                can be had, None in whichever answers sooner in a trial.

        Raises:
            ModelError: the file is malformed or its network is not a detector.
            DeviceError: the device is not there.
            torch.OutOfMemoryError: the weights do not fit on the device.
        """
        self.weights_sha256 = weights.sha256
        self.confidence = weights.confidence if confidence is None else confidence
        self.image_size = weights.image_size if image_size is None else image_size
        backend: _Backend
        try:
            if weights.format == "onnx" and device == "cpu":
                int8 = None if form == "fp32" else integers_of(weights)
                backend = OnnxBackend(weights, threads, int8, form)
                self.weights_sha256 = backend.network.sha256
            else:
                backend = UltralyticsBackend(
                    weights,
                    device,
                    half=half,
                    compiled=compile,
                    engine_size=self.image_size if tensorrt and device != "cpu" else None,
                    threads=threads,
                )
        except Exception as error:
            if isinstance(error, PipelineError) or is_out_of_memory(error):
                raise
            # Each runtime has its own exceptions for a bad file; a person needs one.
            raise ModelError(f"{weights.path} cannot be loaded: {_first_line(error)}") from error
        self._backend: _Backend | None = backend
        self._no_engine = tensorrt and device == "cpu"
        self._fixed = backend.fixed
        self.runtime = backend.runtime
        self.device = backend.device
        self.precision = backend.precision
        self._stride = max(weights.stride, backend.stride)

    @property
    def fallback(self) -> str | None:
        """Why the network does not run in a faster way that was asked for, None if it does."""
        told = self._backend.fallback if self._backend else None
        return told or ("no TensorRT engine (that takes CUDA)" if self._no_engine else None)

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) of the network's input for a displayed picture of that size.

        The long side becomes `image_size`, the short side keeps the aspect, and both are rounded to
        the nearest multiple of the stride (at least one stride). Resize straight to it, without
        borders: the stretch stays under 5% for pictures up to 2:1 and the network does not mind it.
        """
        if self._fixed is not None:
            return self._fixed
        scale = self.image_size / max(width, height)
        across, down = (
            max(1, round(side * scale / self._stride)) * self._stride for side in (width, height)
        )
        return across, down

    def warm_up(self, width: int, height: int, batch: int = 1) -> None:
        """Run once on a black batch of this input size, so that the first real one is not slow."""
        self.detect(np.zeros((batch, height, width, 3), np.uint8))

    def detect(self, images: NDArray[np.uint8] | torch.Tensor) -> list[list[Detection]]:
        """Find marks in a batch.

        Args:
            images: uint8 RGB (n, height, width, 3); sides as `input_size` gives them. A tensor
                where the detector runs on CUDA.

        Returns:
            For each picture its marks, most confident first; boxes in pixels of that picture and
            inside it.

        Raises:
            ValueError: wrong dtype or shape.
            RuntimeError: the detector was closed, or the runtime failed (an out-of-memory error
                of a GPU keeps its own type, so that the caller can split the batch).
        """
        if (
            str(images.dtype) not in ("uint8", "torch.uint8")
            or images.ndim != 4
            or images.shape[3] != 3
        ):
            raise ValueError(
                f"expected uint8 RGB (n, h, w, 3), got {images.dtype} of shape {images.shape}"
            )
        if self._backend is None:
            raise RuntimeError("the detector is closed")
        count, height, width = images.shape[:3]
        if not count:
            return []
        return [_decode(one, self.confidence, width, height) for one in self._backend(images)]

    def close(self) -> None:
        """Drop the network. Closing twice is fine."""
        self._backend = None


class NoDetector:
    """Finds nothing; for those who name the regions themselves."""

    runtime: Runtime = "none"
    precision: Precision | None = None
    device = "cpu"
    weights_sha256 = ""
    fallback: str | None = None
    smallest = 32

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """The smallest input; nobody looks at it."""
        del width, height
        return self.smallest, self.smallest

    def detect(self, images: NDArray[np.uint8] | torch.Tensor) -> list[list[Detection]]:
        return [[] for _ in range(len(images))]

    def close(self) -> None:
        pass


def _decode(
    raw: NDArray[np.float32], confidence: float, width: int, height: int
) -> list[Detection]:
    """Turn one picture's output into detections.

    Args:
        raw: end-to-end rows (k, 6) of x0 y0 x1 y1 confidence class, or a plain head's columns
            (4 + classes, anchors) of centre x, centre y, width, height and class scores.
        confidence: threshold 0..1.
        width: of the input, pixels.
        height: of the input, pixels.
    """
    if raw.shape[-1] == 6:
        scores = raw[:, 4]
        keep = scores >= confidence
        boxes, scores = raw[keep, :4], scores[keep]
    else:
        scores = raw[4:].max(0)
        keep = scores >= confidence
        centre, extent, scores = raw[:2, keep].T, raw[2:4, keep].T, scores[keep]
        boxes = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    found = []
    for box, score in _merge(boxes, scores):
        x0, y0, x1, y1 = (float(v) for v in box)
        if x1 > x0 and y1 > y0:
            found.append(Detection((x0, y0, x1, y1), min(1.0, float(score))))
    return found


def _merge(
    boxes: NDArray[np.float32], scores: NDArray[np.float32]
) -> list[tuple[NDArray[np.float32], np.float32]]:
    """Make one box of all boxes (n, 4) that see the same mark, most confident first.

    The edges are the mean of the boxes about as confident as the best one, weighted by
    confidence: neighbouring anchors err independently, so their mean is tighter and steadier.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    merged = []
    left = np.ones(len(boxes), bool)
    for best in range(len(boxes)):
        if not left[best]:
            continue
        corner = np.maximum(boxes[:, :2], boxes[best, :2])
        opposite = np.minimum(boxes[:, 2:], boxes[best, 2:])
        shared = np.prod(np.clip(opposite - corner, 0, None), axis=1)
        same = left & (shared >= _SAME_MARK * np.maximum(np.minimum(areas, areas[best]), 1e-6))
        same[best] = True
        alike = same & (scores >= _BLEND * scores[best])
        alike &= shared >= 0.7 * np.maximum(areas, areas[best])
        alike[best] = True
        merged.append((np.average(boxes[alike], axis=0, weights=scores[alike]), scores[best]))
        left &= ~same
    return merged


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
