"""Frames to frames that know their marks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Box, Frame, Mark
from sorawm_pipeline.vision.detector import Detection, Detector
from sorawm_pipeline.vision.runs import Runs
from sorawm_pipeline.vision.tracks import Marks, Tracks


class Detect:
    """Runs the detector on small upright RGB copies, then lets tracks decide what is a mark.

    Frames wait inside until the frames after them are known, because a gap can only be filled,
    and an outlier only be told, by looking at both sides.
    """

    name = "detect"

    def __init__(
        self, clip: ClipInfo, detector: Detector, batch_cap: BatchCap, tracks: Tracks
    ) -> None:
        self._clip = clip
        self._detector = detector
        self._batch_cap = batch_cap
        self._tracks = tracks
        self._waiting: deque[Frame] = deque()
        self.held = self._tracks.delay
        self.max_cap = batch_cap.max_cap
        self.frames_inferred = 0
        self.runs = Runs()
        display = clip.display
        width, height = detector.input_size(display.shown_width, display.shown_height)
        self._shown_size = width, height
        self._stored_size = (height, width) if display.transpose else (width, height)

    def cap(self) -> int:
        return self._batch_cap.cap()

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        images = [self._small(frame) for frame in batch]
        ready: list[Marks] = []
        for detections in self._batch_cap.run(self._infer, images):
            ready += self._tracks.push([self._mark(found) for found in detections])
        self.frames_inferred += len(batch)
        self._waiting.extend(batch)
        return self._released(ready)

    def flush(self) -> list[Frame]:
        return self._released(self._tracks.flush())

    def close(self) -> None:
        self._waiting.clear()

    def _released(self, ready: list[Marks]) -> list[Frame]:
        frames = []
        for marks in ready:
            frame = self._waiting.popleft()
            frame.marks = marks
            self.runs.add(frame.index, marks)
            frames.append(frame)
        return frames

    def _infer(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        return self._detector.detect(np.stack(images))

    def _small(self, frame: Frame) -> NDArray[np.uint8]:
        width, height = self._stored_size
        small = frame.picture.reformat(width, height, "rgb24").to_ndarray()
        return self._clip.display.upright(np.asarray(small, np.uint8))

    def _mark(self, found: Detection) -> Mark:
        x0, y0, x1, y1 = self._clip.display.to_stored(found.box, self._shown_size)
        box = Box(int(np.floor(x0)), int(np.floor(y0)), int(np.ceil(x1)), int(np.ceil(y1)))
        return Mark(box.clipped(self._clip.width, self._clip.height), found.confidence)
