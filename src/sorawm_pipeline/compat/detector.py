"""Finding the mark in single pictures."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import groupby
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.compat.batches import batch_cap
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.display import Display
from sorawm_pipeline.vision.detector import Detection, Detector
from sorawm_pipeline.vision.weights import find_weights
from sorawm_pipeline.warm import resolve_device

Picture = NDArray[np.uint8]


class Sighting(TypedDict):
    """What was seen in one picture.

    Keys:
        detected: whether a mark was.
        bbox: x0, y0, x1, y1 of the surest one, pixels of the picture, half-open; None without one.
        confidence: 0..1; 0.0 without one.
        center: x, y of the box's middle; None without one.
    """

    detected: bool
    bbox: tuple[int, int, int, int] | None
    confidence: float
    center: tuple[int, int] | None


class SoraWaterMarkDetector:
    """Looks at pictures, each by itself. The built-in detector is loaded by the first one.

    Threads may share it; they take turns.

    Args:
        device: `auto`, `cpu` or `cuda[:n]`.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._lock = threading.Lock()
        self._loaded: tuple[Detector, BatchCap] | None = None

    def detect(
        self, input_image: Picture, frame_idx: int = 0, use_advanced: bool = True
    ) -> Sighting:
        """Look at one picture.

        Args:
            input_image: uint8 BGR (h, w, 3).
            frame_idx: not used: no picture is judged by others.
            use_advanced: not used.

        Raises:
            ValueError: it is no such picture.
            PipelineError: the detector cannot be loaded, or does not fit into memory.
        """
        del frame_idx, use_advanced
        return self.detect_batch([input_image])[0]

    def detect_batch(
        self, input_images: Sequence[Picture], start_frame_idx: int = 0
    ) -> list[Sighting]:
        """Look at several pictures, of any sizes; as `detect` would see each of them."""
        del start_frame_idx
        for image in input_images:
            check_picture(image)
        found: list[Sighting] = []
        with self._lock:  # the built-in networks may be called from any thread, one at a time
            detector, cap = self._ready()

            def look(images: Sequence[Picture]) -> list[Sighting]:
                return _seen(detector, images)

            for _, alike in groupby(input_images, key=np.shape):
                found += cap.run(look, list(alike))
        return found

    def _ready(self) -> tuple[Detector, BatchCap]:
        if self._loaded is None:
            device = resolve_device(self._device)
            detector = Detector(find_weights(device=device), device=device)
            self._loaded = detector, batch_cap(detector.device)
        return self._loaded


def check_picture(image: Picture) -> None:
    """Raises ValueError: `image` is not uint8 BGR (h, w, 3)."""
    shape, kind = np.shape(image), getattr(image, "dtype", type(image).__name__)
    if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(f"expected a picture of uint8 BGR (h, w, 3), got {kind} of shape {shape}")


def _seen(detector: Detector, images: Sequence[Picture]) -> list[Sighting]:
    """What a detector sees in pictures of one size."""
    height, width = images[0].shape[:2]
    size = detector.input_size(width, height)
    how = cv2.INTER_AREA if max(size) < max(width, height) else cv2.INTER_LINEAR
    small = [cv2.resize(image, size, interpolation=how) for image in images]
    batch = np.stack([np.asarray(picture, np.uint8)[..., ::-1] for picture in small])
    display = Display(width, height)
    return [_sighting(found, display, size) for found in detector.detect(batch)]


def _sighting(found: Sequence[Detection], display: Display, size: tuple[int, int]) -> Sighting:
    if not found:
        return Sighting(detected=False, bbox=None, confidence=0.0, center=None)
    box = display.to_stored_box(found[0].box, size)
    return Sighting(
        detected=True,
        bbox=box.as_tuple(),
        confidence=found[0].confidence,
        center=((box.x0 + box.x1) // 2, (box.y0 + box.y1) // 2),
    )
