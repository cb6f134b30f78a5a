"""How finely a source was encoded, and what its pictures cost: the measure of its result."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.encparams import VideoEncParams
from av.stream import Stream
from av.video.stream import VideoStream

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.hardware.memory import give_back
from sorawm_pipeline.media.clip import ClipInfo, Limits, open_clip
from sorawm_pipeline.media.encoders import EncoderChoice
from sorawm_pipeline.media.source_packets import SourcePackets

TOGETHER, LAYERED = 16, {"vp9": 32, "av1": 48}
"""Pictures that are taken from one place: an encoder looks ahead, and some order many in layers."""

SHARE, FEWEST, MOST = 150, 3, 4
"""One place for so many of a clip's pictures; bounds of how many places there are in all."""

TAIL = 6
"""Pictures at the end of a place that only show an encoder that it goes on."""

PASSED = 150
"""Pictures of a group that are decoded and not taken, at most, on the way to a place in it."""

BLOCKS = 64
"""Blocks of a picture that are asked for their quantiser."""

CEILING = 1.1
"""Share of its bit rate that a source's result may take where no trial could be made."""

CAPPED = ("h264", "hevc", "av1", "vp9")
"""Codecs of the result for which there is such a bound."""

LONGEST_GOP = 600
"""Frames from one key frame of a result to the next, at most."""


@dataclass
class Place:
    """Pictures of a source that follow each other; to be taken once.

    Attributes:
        key: whether the first is a key frame.
        pictures: decodes them one by one, in order. They end early where they cannot be decoded.
        sizes: bytes of their packets, in the order of decoding; complete when all are taken.
    """

    key: bool
    pictures: Iterator[av.VideoFrame] = field(default_factory=lambda: iter(()))
    sizes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """What a source's pictures cost, and where some of them are found.

    Attributes:
        keys: bytes of all its key frames.
        others: bytes of all its other pictures.
        gop: frames from one key frame to the next, at most.
        quantiser: the mean one of some pictures, if the decoder tells it.
        places: decodes some pictures anew, place by place.
    """

    keys: int
    others: int
    gop: int
    quantiser: float | None
    places: Callable[[], Iterable[Place]]

    def share(self, encoded: Callable[[Iterator[av.VideoFrame]], list[int]]) -> float:
        """The part of the source's size that its result will have.

        Key frames and others are weighed by what they have in all of the source. The last pictures
        of a place do not count: an encoder that sees the end near spends less on them.

        Args:
            encoded: encodes a place's pictures, and tells their bytes in the order of decoding.
        """
        key_before = key_now = others_before = others_now = 0
        for place in self.places():
            now = encoded(place.pictures)
            if not now or not place.sizes:
                continue
            counted = max(1, len(place.sizes) - TAIL)
            if place.key:
                key_before += place.sizes[0]
                key_now += now[0]
            others_before += sum(place.sizes[1:counted])
            others_now += sum(now[1:counted])
        parts = [
            (whole, now / before)
            for whole, now, before in (
                (self.keys, key_now, key_before),
                (self.others, others_now, others_before),
            )
            if whole and before
        ]
        total = sum(whole for whole, _ in parts)
        return sum(whole * ratio for whole, ratio in parts) / total if total else 1.0


def read_sample(clip: ClipInfo, limits: Limits, codec: str) -> Sample | None:
    """Read all packets of a clip, for a result in a codec, and some pictures' quantisers.

    None where none can be decoded. Such a source is told of by those who have to decode it.
    """
    try:
        with closing(SourcePackets.of(clip, limits)) as source:
            weighed = _weighed(source)
        places = partial(_places, clip, limits, weighed, codec)
        with closing(places()) as all_of_them:
            told = _quantisers(next(all_of_them, Place(key=False)))
        give_back()
    except (av.error.FFmpegError, InputError):
        return None
    if not told:
        return None
    gop = min(weighed.gop, LONGEST_GOP)
    known = [mean for mean in told if mean is not None]
    quantiser = float(np.mean(known)) if known else None
    return Sample(weighed.key_bytes, weighed.other_bytes, gop, quantiser, places)


@dataclass
class _Weighed:
    """All packets of a stream.

    Attributes:
        keys: when key frames are shown, or decoded, in ticks.
        places: how many pictures come before each of them.
        key_bytes, other_bytes: of key frames and of the others.
        pictures: how many there are.
    """

    keys: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    key_bytes: int = 0
    other_bytes: int = 0
    pictures: int = 0

    @property
    def gop(self) -> int:
        """Pictures from one key frame to the next, at most."""
        return max(end - start for start, end in pairwise([*self.places, self.pictures]))

    def chosen(self, together: int) -> Iterator[tuple[int, int]]:
        """When the group of a place begins, and how many of its pictures come before the place."""
        count = min(MOST, max(FEWEST, self.pictures // SHARE))
        taken = 0
        for number in range(count):
            wanted = self.pictures * number // count
            group = max(0, bisect_right(self.places, wanted) - 1)
            begin, end = [*self.places, self.pictures][group : group + 2]
            passed = min(wanted - begin, end - begin - together, PASSED)
            if passed < together:
                passed = 0  # rather from its key frame on
            if begin + passed >= taken:
                yield self.keys[group], passed
                taken = min(end, begin + passed + together)


def _weighed(source: SourcePackets) -> _Weighed:
    found = _Weighed()
    for packet in source.take():
        when = packet.dts if packet.pts is None else packet.pts
        if packet.is_keyframe and when is not None:
            found.keys.append(when)
            found.places.append(found.pictures)
            found.key_bytes += packet.size
        else:
            found.other_bytes += packet.size
        found.pictures += 1
    return found


def _places(clip: ClipInfo, limits: Limits, weighed: _Weighed, codec: str) -> Generator[Place]:
    """Raises FFmpegError, InputError: the source cannot be opened."""
    with closing(open_clip(clip, limits)) as container:
        stream = container.streams[clip.stream_index]
        if not isinstance(stream, VideoStream) or not weighed.keys:
            return
        stream.thread_type = "SLICE"
        stream.codec_context.options = {"export_side_data": "venc_params"}
        together = LAYERED.get(codec, TOGETHER)
        for start, passed in weighed.chosen(together):
            container.seek(start, stream=stream)
            stream.codec_context.flush_buffers()
            place = Place(key=not passed)
            place.pictures = _pictures(place, container, stream, passed, together)
            yield place


def _pictures(
    place: Place, container: InputContainer, stream: VideoStream, passed: int, together: int
) -> Iterator[av.VideoFrame]:
    """Pictures of one group, behind the first that are passed."""
    packets = 0
    wanted: set[int | None] = {None}  # some containers do not tell when a picture is shown
    with suppress(av.error.FFmpegError):
        for packet in container.demux(stream):
            if not packet.size or (packet.is_keyframe and packets):
                break
            if not packets and not packet.is_keyframe:
                continue
            packets += 1
            pictures = packet.decode()
            if packets > passed:
                place.sizes.append(packet.size)
                wanted.add(packet.pts)
                yield from (picture for picture in pictures if picture.pts in wanted)
            if len(place.sizes) == together:
                break
    with suppress(av.error.FFmpegError):
        left = stream.codec_context.decode(None)
        yield from (picture for picture in left if picture.pts in wanted)


def _quantisers(place: Place) -> list[float | None]:
    """The mean quantiser of each picture, None where the decoder does not tell it."""
    told = [picture.side_data.get("VIDEO_ENC_PARAMS") for picture in place.pictures]
    return [_mean_of(each) if isinstance(each, VideoEncParams) else None for each in told]


def _mean_of(told: VideoEncParams) -> float:
    """The mean quantiser of some blocks of a picture, evenly spread."""
    blocks = range(0, told.nb_blocks, max(1, told.nb_blocks // BLOCKS))
    finer = [told.block_params(block).delta_qp for block in blocks]
    return told.qp + (float(np.mean(finer)) if finer else 0.0)


def most_bits(clip: ClipInfo, limits: Limits, choice: EncoderChoice) -> int | None:
    """Bits per second that a result of constant quality may take, so that it does not bloat.

    None where its encoder cannot be told, or the source does not tell its own.
    """
    if choice.codec not in CAPPED:
        return None
    try:
        with closing(open_clip(clip, limits)) as container:
            own = _bit_rate(container.streams[clip.stream_index])
            if not own:
                own = container.bit_rate - sum(map(_bit_rate, container.streams))
    except (av.error.FFmpegError, InputError):
        return None
    return int(own * CEILING) if own > 0 else None


def _bit_rate(stream: Stream) -> int:
    """Bits per second as the container tells, 0 if it does not."""
    return int(getattr(stream.codec_context, "bit_rate", None) or 0)
