"""When the pictures of a stream are shown and where decoding may begin, told by its packets alone.

What it takes to do a part of a clip without the rest of it.
"""

from __future__ import annotations

from array import array
from contextlib import closing
from dataclasses import dataclass
from zlib import crc32

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.source_packets import SourcePackets
from sorawm_pipeline.snapshot import value

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers that find a key frame without being read up to it."""


@value
@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a clip.

    Attributes:
        first: index of its first picture.
        pts: int64 (n,) when each of its pictures is shown, in ticks of the clip's time base.
        start: index of the picture that decoding begins with, a key frame; at most `first`.
        start_pts: when that one is shown.
    """

    first: int
    pts: NDArray[np.int64]
    start: int
    start_pts: int

    @property
    def end(self) -> int:
        """Index of the picture behind its last."""
        return self.first + len(self.pts)


@value
@dataclass(frozen=True, slots=True)
class Timeline:
    """The pictures of a stream.

    Attributes:
        pts: int64 (n,), rising, in ticks of the clip's time base.
        starts: int64 (k,), indices of the key frames at which decoding may begin; the first is 0.
        sums: int64 (k,), checksums of the packets from each of these to the next.
    """

    pts: NDArray[np.int64]
    starts: NDArray[np.int64]
    sums: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pts)

    def span(self, first: int, end: int) -> Span:
        """The pictures from `first` to before `end`."""
        start = int(self.starts[self.group_of(first)])
        return Span(first, self.pts[first:end], start, int(self.pts[start]))

    def group_of(self, index: int) -> int:
        """Which of `starts` a picture is decoded from."""
        return max(0, int(np.searchsorted(self.starts, index, "right")) - 1)

    def sums_of(self, first: int, end: int) -> NDArray[np.int64]:
        """Checksums of all that is read to decode the pictures from `first` to before `end`."""
        if first >= end:
            return self.sums[:0]
        return self.sums[self.group_of(first) : self.group_of(end - 1) + 1]


def read_timeline(clip: ClipInfo, limits: Limits) -> Timeline:
    """Read all packets of a clip, decoding none.

    Raises:
        Unfit: parts of it cannot be found or decoded alone, and why.
        InputError: the file cannot be read.
    """
    if clip.format_name not in INDEXED:
        raise Unfit(f"a {clip.format_name.partition(',')[0]} file has no index of its key frames")
    shown, keys, sums = array("q"), array("q"), array("L")
    try:
        with closing(SourcePackets.of(clip, limits)) as source:
            for packet in source.take():
                if packet.pts is None:
                    raise Unfit("some of its packets do not say when they are shown")
                if packet.is_discard:
                    raise Unfit("its edit list leaves out pictures")
                if packet.is_corrupt:
                    raise Unfit("some of its packets are damaged")
                if packet.is_keyframe:
                    keys.append(len(shown))
                shown.append(packet.pts)
                sums.append(crc32(packet))
    except av.error.FFmpegError as error:
        raise Unfit(f"its packets cannot be read to the end ({error.strerror})") from error
    if clip.counts_frames and len(shown) < clip.frames_claimed:
        raise InputError(
            f"{clip.path} is cut short: its index lists {clip.frames_claimed} frames and only "
            f"{len(shown)} can be read; copy it again"
        )
    return _timeline(np.array(shown, np.int64), keys.tolist(), np.array(sums, np.int64))


def _timeline(shown: NDArray[np.int64], keys: list[int], sums: NDArray[np.int64]) -> Timeline:
    """From what packets say, in the order of decoding; `keys` are the places of key frames."""
    if not keys or keys[0]:
        raise Unfit("it begins with no key frame")
    pts = np.sort(shown)
    if (pts[1:] == pts[:-1]).any():
        raise Unfit("two of its pictures are shown at the same time")
    # A key frame in one place both of decoding and of showing has nothing behind it shown before.
    before = np.maximum.accumulate(shown)
    behind = np.minimum.accumulate(shown[::-1])[::-1]
    closed = [
        at for at in keys if behind[at] == shown[at] and (not at or before[at - 1] < shown[at])
    ]
    if not closed or closed[0]:
        raise Unfit("its first picture is not shown first")
    ends = [*closed[1:], len(shown)]
    groups = [
        crc32(sums[first:end].tobytes() + shown[first:end].tobytes())
        for first, end in zip(closed, ends, strict=True)
    ]
    return Timeline(pts, np.array(closed, np.int64), np.array(groups, np.int64))
