"""Frames to frames that know their marks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Frame, Plane
from sorawm_pipeline.media.planes import plane_view
from sorawm_pipeline.stages.small_pictures import SmallPictures, stacked
from sorawm_pipeline.vision.detector import Detection, Detector, NoDetector
from sorawm_pipeline.vision.masks import Masks
from sorawm_pipeline.vision.regions import Regions
from sorawm_pipeline.vision.runs import Runs
from sorawm_pipeline.vision.sampling import Sampler
from sorawm_pipeline.vision.tracks import Marks, Tracks, longest_gap

if TYPE_CHECKING:
    import torch


class Detect:
    """Looks at few frames, on small upright RGB copies, and lets tracks decide what is a mark.

    Frames wait inside until the next look, because what lies between two looks is concluded from
    both, and then until the frames after them are known, because an outlier can only be told by
    looking at both sides.

    Args:
        stride: most frames from one look to the next; 1 looks at every frame.
        believe: confidence, 0 to 1, from which a sighting is believed; the detector's own
            threshold may be lower, and what lies below is doubtful.
        window: frames on either side that tracks look at.
        regions: the marks that are known beforehand.
    """

    name = "detect"
    STATE = ("_sampler", "_tracks", "_masks", "_regions", "_moments", "frames_inferred")
    """What goes on from a settled frame to the next (see `snapshot`)."""

    def __init__(
        self,
        clip: ClipInfo,
        detector: Detector | NoDetector,
        batch_cap: BatchCap,
        *,
        stride: int,
        believe: float,
        window: int,
        regions: Regions,
    ) -> None:
        self._clip = clip
        self._detector = detector
        self._batch_cap = batch_cap
        self._tracks = Tracks(window, believe)
        self._sampler = Sampler(
            self._look, self._luma, clip.layout.depth, stride, believe, longest_gap(window)
        )
        self._regions = regions
        self._masks = Masks(clip.layout.depth)
        self._small = SmallPictures(clip, detector)
        self._waiting: deque[Frame] = deque()
        self._unsettled: dict[int, Frame] = {}
        self.held = self.held_for(stride, window)
        self.max_cap = batch_cap.max_cap
        self.frames_inferred = 0
        self.runs = Runs()

    @staticmethod
    def held_for(stride: int, window: int) -> int:
        """Frames that wait inside between two calls, at most."""
        return stride - 1 + Tracks.delay_for(window)

    @property
    def settled(self) -> bool:
        """Whether it has seen all it needs of the pictures it was given."""
        return not self._unsettled

    @property
    def _moments(self) -> list[tuple[int, int, int]]:
        """Index, pts and duration of the frames that are settled and wait for those behind them."""
        return [(frame.index, frame.pts, frame.duration) for frame in self._waiting]

    @_moments.setter
    def _moments(self, moments: Sequence[tuple[int, int, int]]) -> None:
        nothing = av.VideoFrame(16, 16, "gray")  # their pictures are not looked at any more
        self._waiting = deque(Frame(*moment, nothing) for moment in moments)

    @property
    def not_kept(self) -> str | None:
        """Why pictures that lay on the GPU were not used there, if that is so."""
        return self._small.failure

    def cap(self) -> int:
        return self._batch_cap.cap()

    def open(self) -> None:
        pass

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        self._waiting.extend(batch)
        if isinstance(self._detector, NoDetector):
            return self._released([[] for _ in batch])
        self._unsettled.update((frame.index, frame) for frame in batch)
        due = [frame.index for frame in batch if self._sampler.push(frame.index)]
        self._sampler.look_at(due)
        return self._released([marks for index in due for marks in self._settled(index)])

    def flush(self) -> list[Frame]:
        left = self._settled(max(self._unsettled)) if self._unsettled else []
        return self._released(left + self._tracks.flush())

    def close(self) -> None:
        self._waiting.clear()
        self._unsettled.clear()
        self._small.close()

    def _settled(self, upto: int) -> list[Marks]:
        ready: list[Marks] = []
        for index, settled in enumerate(self._sampler.settle(upto), start=min(self._unsettled)):
            self._masks.see(index, self._luma(index), settled.marks)
            ready += self._tracks.push(settled.marks, settled.gone)
        for index in [index for index in self._unsettled if index <= upto]:
            self._unsettled.pop(index).on_device = None
        return ready

    def _released(self, ready: list[Marks]) -> list[Frame]:
        frames = []
        for marks in ready:
            frame = self._waiting.popleft()
            found = [replace(mark, mask=self._masks.tell(mark)) for mark in marks]
            frame.marks = self._regions.added(frame.index, frame.pts, found)
            self.runs.add(frame.index, frame.marks)
            frames.append(frame)
        return frames

    def _luma(self, index: int) -> Plane:
        return plane_view(self._unsettled[index].picture, 0, self._clip.layout)

    def _look(self, indices: Sequence[int]) -> list[Marks]:
        frames = [self._unsettled[index] for index in indices]
        images = [self._small.of(frame.picture, frame.on_device) for frame in frames]
        self.frames_inferred += len(images)
        return [
            [self._small.mark(found) for found in detections]
            for detections in self._batch_cap.run(self._infer, images)
        ]

    def _infer(self, images: Sequence[NDArray[np.uint8] | torch.Tensor]) -> list[list[Detection]]:
        return self._detector.detect(stacked(images))
