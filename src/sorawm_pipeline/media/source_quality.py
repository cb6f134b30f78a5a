"""How finely a source was encoded, and what its pictures cost: the measure of its result."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.encparams import VideoEncParams
from av.stream import Stream
from av.video.stream import VideoStream

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import ClipInfo, Limits, open_clip
from sorawm_pipeline.media.encoders import EncoderChoice
from sorawm_pipeline.media.source_packets import SourcePackets

TOGETHER, LAYERED = 16, {"vp9": 32, "av1": 48}
"""Pictures that are taken from one place: an encoder looks ahead, and some order many in layers."""

SHARE, FEWEST, MOST = 100, 3, 6
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
    """Pictures that follow each other.

    Attributes:
        pictures: as decoded, in order.
        sizes: bytes of their packets, in the order of decoding.
        key: whether the first is a key frame.
        quantisers: mean quantisers of the pictures, where the decoder tells them.
    """

    key: bool
    pictures: list[av.VideoFrame] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    quantisers: list[float] = field(default_factory=list)

    def take(self, pictures: Sequence[av.VideoFrame]) -> None:
        for picture in pictures:
            self.pictures.append(picture)
            told = picture.side_data.get("VIDEO_ENC_PARAMS")
            if isinstance(told, VideoEncParams):
                self.quantisers.append(_mean_of(told))


@dataclass(frozen=True)
class Sample:
    """What a source's pictures cost.

    Attributes:
        places: pictures of it.
        keys: bytes of all its key frames.
        others: bytes of all its other pictures.
        gop: frames from one key frame to the next, at most.
    """

    places: Sequence[Place]
    keys: int
    others: int
    gop: int

    @property
    def quantiser(self) -> float | None:
        """The mean quantiser, if the decoder tells it."""
        told = [mean for place in self.places for mean in place.quantisers]
        return float(np.mean(told)) if told else None

    def share(self, sizes: Sequence[Sequence[int]]) -> float:
        """The part of the source's size that its result will have.

        Key frames and others are weighed by what they have in all of the source. The last pictures
        of a place do not count: an encoder that sees the end near spends less on them.

        Args:
            sizes: for each place, bytes of its pictures encoded anew, in the order of decoding.
        """
        key_before = key_now = others_before = others_now = 0
        for place, now in zip(self.places, sizes, strict=True):
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
    """Read all packets of a clip, and decode some of its pictures, for a result in a codec.

    None where there are none. A source that cannot be decoded here is told of by those who have to.
    """
    try:
        with closing(SourcePackets.of(clip, limits)) as source:
            weighed = _weighed(source)
        with closing(open_clip(clip, limits)) as container:
            places = list(_places(container, clip, weighed, codec))
    except (av.error.FFmpegError, InputError):
        return None
    if not places:
        return None
    return Sample(places, weighed.key_bytes, weighed.other_bytes, min(weighed.gop, LONGEST_GOP))


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


def _places(
    container: InputContainer, clip: ClipInfo, weighed: _Weighed, codec: str
) -> Iterator[Place]:
    stream = container.streams[clip.stream_index]
    if not isinstance(stream, VideoStream) or not weighed.keys:
        return
    stream.thread_type = "SLICE"
    stream.codec_context.options = {"export_side_data": "venc_params"}
    together = LAYERED.get(codec, TOGETHER)
    for start, passed in weighed.chosen(together):
        container.seek(start, stream=stream)
        stream.codec_context.flush_buffers()
        place = _place(container, stream, passed, together)
        if place.pictures:
            yield place


def _place(container: InputContainer, stream: VideoStream, passed: int, together: int) -> Place:
    """Pictures of one group, behind the first that are passed."""
    place, packets = Place(key=not passed), 0
    for packet in container.demux(stream):
        if not packet.size or (packet.is_keyframe and packets):
            break
        if not packets and not packet.is_keyframe:
            continue
        packets += 1
        pictures = packet.decode()
        if packets > passed:
            place.sizes.append(packet.size)
            place.take(pictures)
        if len(place.sizes) == together:
            break
    place.take(stream.codec_context.decode(None))
    del place.pictures[: max(0, len(place.pictures) - len(place.sizes))]  # late ones before it
    return place


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
