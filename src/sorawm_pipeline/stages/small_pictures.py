"""The small upright pictures that a detector looks at, and what it sees there in the large ones."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Mark
from sorawm_pipeline.vision.detector import Detection, Detector, NoDetector


class SmallPictures:
    """One clip's pictures at a detector's size. Use on one thread; close it there.

    Args:
        clip: whose pictures they are.
        detector: who looks at them.
    """

    def __init__(self, clip: ClipInfo, detector: Detector | NoDetector) -> None:
        display = self._display = clip.display
        width, height = detector.input_size(display.shown_width, display.shown_height)
        self._shown_size = width, height
        self._stored_size = (height, width) if display.transpose else (width, height)
        self._scaler: VideoReformatter | None = None

    def of(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
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
