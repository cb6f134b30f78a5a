"""The small upright pictures that a detector looks at, and what it sees there in the large ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Mark
from sorawm_pipeline.stages.device_pictures import DevicePictures
from sorawm_pipeline.vision.detector import Detection, Detector, NoDetector

if TYPE_CHECKING:
    import torch


class SmallPictures:
    """One clip's pictures at a detector's size. Use on one thread; close it there.

    Args:
        clip: whose pictures they are.
        detector: who looks at them.

    Attributes:
        failure: why pictures that lay on the GPU were not used there, else None.
    """

    def __init__(self, clip: ClipInfo, detector: Detector | NoDetector) -> None:
        display = self._display = clip.display
        width, height = detector.input_size(display.shown_width, display.shown_height)
        self._shown_size = width, height
        self._stored_size = (height, width) if display.transpose else (width, height)
        self._scaler: VideoReformatter | None = None
        self._on_device: DevicePictures | None = DevicePictures(clip, *self._stored_size)
        self.failure: str | None = None

    def of(
        self, picture: av.VideoFrame, on_device: av.VideoFrame | None = None
    ) -> NDArray[np.uint8] | torch.Tensor:
        """A picture as it is displayed, RGB (h, w, 3); a tensor where it lies on a GPU too."""
        if on_device is not None and self._on_device is not None:
            try:
                return self._on_device.of(on_device)
            except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
                self.failure, self._on_device = f"{type(error).__name__}: {error}", None
        return self.in_memory(picture)

    def in_memory(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """A picture as it is displayed, RGB (h, w, 3)."""
        if self._scaler is None:
            self._scaler = VideoReformatter()  # one for all of them: it is costly to build
        width, height = self._stored_size
        small = self._scaler.reformat(picture, width, height, "rgb24")
        return self._display.upright(np.asarray(small.to_ndarray(), np.uint8))

    def mark(self, found: Detection) -> Mark:
        """What was seen in a small picture, in the stored one."""
        box = self._display.to_stored_box(found.box, self._shown_size)
        return Mark(box, found.confidence)

    def close(self) -> None:
        self._scaler = None  # its threads end with it, not when its owner is collected as garbage


def stacked(images: Sequence[NDArray[np.uint8] | torch.Tensor]) -> NDArray[np.uint8] | torch.Tensor:
    """Small pictures together, (n, h, w, 3): on the GPU if all of them lie there."""
    arrays = [image for image in images if isinstance(image, np.ndarray)]
    if len(arrays) == len(images):
        return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
    import torch

    if not arrays:
        return torch.stack([torch.as_tensor(image) for image in images])
    return np.stack([i if isinstance(i, np.ndarray) else i.cpu().numpy() for i in images])
