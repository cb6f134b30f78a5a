"""A first look at a clip's key frames, which can be decoded without the rest."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.side_streams import AnyPacket
from sorawm_pipeline.media.source_packets import SourcePackets
from sorawm_pipeline.media.timeline import Span
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.stages.small_pictures import SmallPictures
from sorawm_pipeline.vision.detector import Detection, Detector, NoDetector

LONGEST_S = Fraction(16, 15)
"""Seconds from one look to the next, at most: a mark that stays in one place for 64 frames of 30 a
second, as the real one does at least, is looked at twice; at a clip's ends once."""

SHORTEST_S = Fraction(1, 2)
"""Seconds from one look to the next, at least, unless the next key frame comes too late."""

DOUBTFUL = 4
"""Two looks and one in so many may be doubtful; where more are, the whole clip is searched."""

PACKETS = 500
"""Packets that a step reads at most, so that nobody waits for it for long."""


class Doubt(Exception):  # noqa: N818 - nothing went wrong: the whole search is asked for
    """Why key frames do not tell that a clip is without a mark."""


class Scout:
    """Looks for a reason why a clip cannot be called clean. Use on the detector's thread.

    A believed sighting is reason enough, and so is all that could hide a mark. Where a sighting is
    doubtful, the pictures from the look before it to the one behind it are searched as all pictures
    of a clip would be. No others are decoded, but for those behind the last key frame.

    Args:
        believe: confidence, 0 to 1, from which a sighting is believed.
        search: gives the stage that would search the whole clip, new.

    Attributes:
        looks: pictures that were looked at.
        decoded: pictures that were decoded.
        searched: pictures that were searched around doubtful ones.
    """

    def __init__(
        self,
        clip: ClipInfo,
        limits: Limits,
        detector: Detector | NoDetector,
        batch_cap: BatchCap,
        believe: float,
        search: Callable[[], Detect],
    ) -> None:
        self._clip = clip
        self._limits = limits
        self._detector = detector
        self._batch_cap = batch_cap
        self._believe = believe
        self._search = search
        self._small = SmallPictures(clip, detector)
        self._source: SourcePackets | None = None
        self._unread: Iterator[AnyPacket] = iter(())
        self._shown = array("q")
        self._looked: list[int] = []
        self._waiting: list[tuple[int, NDArray[np.uint8]]] = []
        self._passed: AnyPacket | None = None
        self._doubtful: list[int] = []
        self._group: list[AnyPacket] = []
        self._spans: Iterator[Span] | None = None
        self.looks = 0
        self.decoded = 0
        self.searched = 0

    def open(self) -> None:
        """Raises InputError: the file cannot be opened any more."""
        self._source = SourcePackets.of(self._clip, self._limits)
        self._unread = self._source.take()

    def step(self) -> bool:
        """Look on for a while; False when all is looked at and no mark is there.

        Raises:
            Doubt: the clip cannot be called clean, and why.
            Unfit: parts of it cannot be found.
        """
        try:
            if self._spans is None:
                if not self._read():
                    self._take_last()
                    self._judge()
                    self._spans = iter(self._around_doubtful())
                elif len(self._waiting) >= self._together:
                    self._judge()
                return True
            span = next(self._spans, None)
            if span is not None:
                self._search_in(span)
            return span is not None
        except (av.error.FFmpegError, InputError) as error:
            raise Doubt(f"its pictures cannot be decoded ({error})") from error

    @property
    def longest_s(self) -> float:
        """Seconds from one look to the next, at most."""
        ticks = max((b - a for a, b in pairwise(self._looked)), default=0)
        return float(ticks * self._clip.time_base)

    def close(self) -> None:
        self._waiting.clear()
        self._group.clear()
        self._small.close()
        if self._source is not None:
            self._source.close()

    @property
    def _together(self) -> int:
        """Pictures for one call; the first alone, because most marks are there from the start."""
        return self._batch_cap.cap() if self.looks else 1

    def _read(self) -> bool:
        """Take packets until there is enough to look at, or a step's worth; False at the end."""
        for packet in (next(self._unread, None) for _ in range(PACKETS)):
            if packet is None:
                return False
            if packet.pts is None or packet.is_corrupt:
                raise Doubt("its packets are damaged or do not say when they are shown")
            if not self._shown and not packet.is_keyframe:
                raise Doubt("it does not begin with a key frame")
            self._shown.append(packet.pts)
            if self._passed is not None and self._seconds_from_look(packet.pts) > LONGEST_S:
                self._take_key(self._passed)
            self._check_reach(packet.pts)
            if packet.is_keyframe:
                self._group.clear()
                if self._looked and self._seconds_from_look(packet.pts) < SHORTEST_S:
                    self._passed = packet
                else:
                    self._take_key(packet)
            self._group.append(packet)
            if len(self._waiting) >= self._together:
                break
        return True

    def _seconds_from_look(self, pts: int) -> Fraction:
        return (pts - self._looked[-1]) * self._clip.time_base

    def _take_key(self, packet: AnyPacket) -> None:
        assert self._source is not None
        assert packet.pts is not None
        pts, self._passed = packet.pts, None
        decoder = self._source.stream.codec_context
        pictures = [*packet.decode(), *decoder.decode(None)]
        decoder.flush_buffers()
        if [picture.pts for picture in pictures] != [pts]:
            raise Doubt(f"the key frame at {self._seconds(pts)} cannot be decoded alone")
        self.decoded += 1
        self._take(pictures[0], pts)

    def _take_last(self) -> None:
        """Keep the clip's last picture to look at, for which those before it are decoded."""
        clip = self._clip
        if not self._shown or (clip.counts_frames and len(self._shown) < clip.frames_claimed):
            raise Doubt("it is cut short")
        last = max(self._shown)
        if last > self._looked[-1]:
            for picture in self._decoded_group():
                self.decoded += 1
                if picture.pts == last:
                    self._take(picture, last)

    def _decoded_group(self) -> Iterator[av.VideoFrame]:
        assert self._source is not None
        for packet in self._group:
            yield from packet.decode()
        yield from self._source.stream.codec_context.decode(None)

    def _take(self, picture: av.VideoFrame, pts: int) -> None:
        clip = self._clip
        found = picture.width, picture.height, picture.format.name
        if found not in [
            (clip.width, clip.height, p) for p in (clip.pixel_format, clip.layout.name)
        ]:
            raise Doubt(f"its pictures are of another kind at {self._seconds(pts)}")
        self._check_reach(pts)
        self._waiting.append((pts, self._small.in_memory(picture)))
        self._looked.append(pts)

    def _check_reach(self, pts: int) -> None:
        """Refuse to leave more of the clip unseen than a mark could hide in."""
        if self._looked and self._seconds_from_look(pts) > LONGEST_S:
            raise Doubt(f"its key frames are more than {float(LONGEST_S):.1f} s apart")

    def _judge(self) -> None:
        if not self._waiting:
            return
        times, images = zip(*self._waiting, strict=True)
        self._waiting.clear()
        self.looks += len(images)
        for pts, found in zip(times, self._batch_cap.run(self._infer, images), strict=True):
            if any(sighting.confidence >= self._believe for sighting in found):
                raise Doubt(f"a mark is in the picture at {self._seconds(pts)}")
            if found:
                self._doubtful.append(pts)
        if len(self._doubtful) > 2 + self.looks // DOUBTFUL:
            raise Doubt("too many of its pictures may show a mark")

    def _infer(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        return self._detector.detect(np.stack(images))

    def _around_doubtful(self) -> list[Span]:
        """From the look before each doubtful picture to the one behind it; none twice."""
        spans: list[tuple[int, int]] = []
        for pts in self._doubtful:
            at = self._looked.index(pts)
            first = self._looked[max(0, at - 1)]
            last = self._looked[min(at + 1, len(self._looked) - 1)]
            if spans and first <= spans[-1][1]:
                first = spans.pop()[0]
            spans.append((first, last))
        return [self._span(first, last) for first, last in spans]

    def _span(self, first: int, last: int) -> Span:
        """The pictures from a key frame to another picture, both included, numbered from 0."""
        pts = np.sort(np.array(self._shown, np.int64))
        return Span(0, pts[(pts >= first) & (pts <= last)], 0, first)

    def _search_in(self, span: Span) -> None:
        with closing(self._search()) as stage:
            stage.open()
            for frame in self._frames(span):
                self._check_clean(stage.process([frame]))
                self.searched += 1
            self._check_clean(stage.flush())
            self.looks += stage.frames_inferred

    def _check_clean(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            if frame.marks:
                raise Doubt(f"a mark is found at {self._seconds(frame.pts)}")

    def _frames(self, span: Span) -> Iterator[Frame]:
        with closing(Decode(self._clip, self._limits, span=span)) as decode:
            decode.open()
            while frames := decode.read(1):
                self.decoded += 1
                yield from frames

    def _seconds(self, pts: int) -> str:
        return f"{float(pts * self._clip.time_base):.2f} s"
