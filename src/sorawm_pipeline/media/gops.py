"""Groups of pictures: where a stream can be cut, and which groups may be copied as they are.

A group here begins with a picture at which every decoder starts afresh, and before which nothing
that follows it is shown. Open groups are counted to the one before, so no picture of one group
ever needs another group.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeAlias

import av

from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.parameter_sets import (
    Codec,
    Numbers,
    Unfit,
    delimited,
    free_numbers,
    header_sets,
    is_idr,
    length_size,
    parameter_sets,
    split,
)
from sorawm_pipeline.media.side_streams import AnyPacket
from sorawm_pipeline.media.source_packets import SourcePackets
from sorawm_pipeline.snapshot import value


@value
@dataclass(frozen=True, slots=True)
class Gops:
    """The groups of a stream.

    Attributes:
        codec: of the stream.
        starts: pts of the first picture of each group, in ticks of the clip's time base, rising.
        packets: how many packets each group has.
        first_dts: dts of the first packets, in place of what the container says of them.
        reorder: how many packets a picture may come later than it is shown.
        header: the container's codec header.
        unit_length: bytes of the length before each unit of a packet; None for start codes.
        numbers: numbers for further parameter sets, which no set of the stream has.
    """

    codec: Codec
    starts: tuple[int, ...]
    packets: tuple[int, ...]
    first_dts: tuple[int, ...]
    reorder: int
    header: bytes
    unit_length: int | None
    numbers: Numbers

    def part(self, first: int, end: int, dts: tuple[int, ...]) -> Gops:
        """The groups from `first` to before `end`, whose packets get these decoding times."""
        return replace(
            self, starts=self.starts[first:end], packets=self.packets[first:end], first_dts=dts
        )


Step: TypeAlias = tuple[Literal["copy", "change", "encode"], int]
"""Copy this group; give up copying it and encode what passed of it; encode the frame at hand."""


class Walk:
    """Decides about groups as their frames pass, holding none of them.

    A group is copied if no frame of it is changed. That is known when the first frame behind it
    comes; a change that comes late has the frames before it decoded once more.
    """

    def __init__(self, starts: tuple[int, ...]) -> None:
        self._starts = starts
        self._gop = 0
        self._changed = False

    def take(self, pts: int, *, changed: bool) -> Iterator[Step]:
        """What to do, in this order, now that a frame is known; frames come in order of pts."""
        while self._gop + 1 < len(self._starts) and pts >= self._starts[self._gop + 1]:
            yield from self._leave()
        if changed and not self._changed:
            self._changed = True
            yield "change", self._gop
        if self._changed:
            yield "encode", self._gop

    def finish(self) -> Iterator[Step]:
        """What is left to do after the last frame."""
        while self._gop < len(self._starts):
            yield from self._leave()

    def _leave(self) -> Iterator[Step]:
        if not self._changed:
            yield "copy", self._gop
        self._gop += 1
        self._changed = False


def survey(clip: ClipInfo, limits: Limits) -> Gops:
    """Read all packets of a clip, decoding none, and find its groups.

    Raises:
        Unfit: its packets cannot stand beside re-encoded ones, and why.
        InputError: the file cannot be read.
    """
    if clip.codec not in ("h264", "hevc"):
        raise Unfit(f"packets of {clip.codec} are not copied in this version")
    codec: Codec = "h264" if clip.codec == "h264" else "hevc"
    try:
        with closing(SourcePackets.of(clip, limits)) as source:
            header = source.stream.codec_context.extradata or b""
            found = _Survey(codec, header)
            for packet in source.take():
                found.see(packet)
            return found.done()
    except av.error.FFmpegError as error:
        raise Unfit(f"its packets cannot be read to the end ({error.strerror})") from error


class _Survey:
    """What is gathered of a stream, packet by packet."""

    def __init__(self, codec: Codec, header: bytes) -> None:
        self._codec: Codec = codec
        self._header = header
        self._length = length_size(codec, header)
        self._sets = set(header_sets(codec, header))
        self._starts: list[int] = []
        self._counts: list[int] = []
        self._undated = 0
        self._dts: list[int] = []
        self._last_dts: int | None = None
        self._gop: list[int] = []
        self._reorder = 0

    def see(self, packet: AnyPacket) -> None:
        pts = packet.pts
        if pts is None:
            raise Unfit("some of its packets do not say when they are shown")
        if packet.is_discard:
            raise Unfit("its edit list leaves out pictures")
        if packet.is_corrupt:
            raise Unfit("some of its packets are damaged")
        self._date(packet)
        units = self._units(packet)
        if self._begins(packet, pts, units):
            self._close()
            self._starts.append(pts)
        self._gop.append(pts)

    def done(self) -> Gops:
        if not self._starts:
            raise Unfit("it begins with no key frame")
        self._close()
        return Gops(
            codec=self._codec,
            starts=tuple(self._starts),
            packets=tuple(self._counts),
            first_dts=self._first_dts(),
            reorder=self._reorder,
            header=self._header,
            unit_length=self._length,
            numbers=free_numbers(self._codec, self._sets),
        )

    def _units(self, packet: AnyPacket) -> list[bytes]:
        if not packet.is_keyframe and self._length is not None:
            return []
        units = split(bytes(packet), self._length)
        if self._length is None and not delimited(self._codec, units):
            raise Unfit("its packets do not begin with delimiters, which this container wants")
        if packet.is_keyframe:
            sets = parameter_sets(self._codec, units)
            if self._length is None and is_idr(self._codec, units) and not sets:
                raise Unfit("its key frames do not repeat the parameter sets")
            self._sets.update(sets)
        return units

    def _begins(self, packet: AnyPacket, pts: int, units: list[bytes]) -> bool:
        if not self._starts:
            return True  # what comes before the first key frame nobody can decode any better
        return packet.is_keyframe and is_idr(self._codec, units) and pts > max(self._gop)

    def _date(self, packet: AnyPacket) -> None:
        """Check the dts; Matroska does not tell those of the first packets."""
        if packet.dts is None:
            if self._dts:
                raise Unfit("some of its packets do not say when they are decoded")
            self._undated += 1
            return
        if len(self._dts) < 2:
            self._dts.append(packet.dts)
        if self._last_dts is not None and packet.dts <= self._last_dts:
            raise Unfit("its decoding times do not rise")
        self._last_dts = packet.dts

    def _first_dts(self) -> tuple[int, ...]:
        """Times for the undated packets, as far apart as the first that are dated."""
        if not self._undated:
            return ()
        if len(self._dts) < 2:
            raise Unfit("its packets do not say when they are decoded")
        first, second = self._dts
        return tuple(first - (second - first) * k for k in range(self._undated, 0, -1))

    def _close(self) -> None:
        """End the group at hand; one with pictures shown before its first belongs to the last."""
        if not self._gop:
            return
        order = sorted(self._gop)
        if any(one == next_one for one, next_one in pairwise(order)):
            raise Unfit("two of its pictures are shown at the same time")
        rank = {pts: place for place, pts in enumerate(order)}
        late = max(place - rank[pts] for place, pts in enumerate(self._gop))
        self._reorder = max(self._reorder, late)
        if order[0] < self._gop[0]:
            self._join(order[0])
        else:
            self._counts.append(len(self._gop))
        self._gop = []

    def _join(self, earliest: int) -> None:
        if self._counts:
            self._starts.pop()
            self._counts[-1] += len(self._gop)
        else:
            self._starts[-1] = earliest
            self._counts.append(len(self._gop))
