"""Packets of a picture between two processes: their bytes in one file, all else in a few arrays."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.side_streams import AnyPacket
from sorawm_pipeline.snapshot import value


@value
@dataclass(frozen=True, slots=True)
class PacketIndex:
    """What is known of stored packets, each an array (n,) in the order of decoding.

    Attributes:
        pts, durations: int64, in ticks of the clip's time base.
        sizes: int64, in bytes.
        keys: uint8, 1 for key frames.
        copied: uint8, 1 for packets that are the source's own.
        checksum: of all their bytes.
    """

    pts: NDArray[np.int64]
    durations: NDArray[np.int64]
    sizes: NDArray[np.int64]
    keys: NDArray[np.uint8]
    copied: NDArray[np.uint8]
    checksum: int

    @property
    def reorder(self) -> int:
        """How many packets a picture comes later than it is shown, at most."""
        rank = np.empty(len(self.pts), np.int64)
        rank[np.argsort(self.pts, kind="stable")] = np.arange(len(self.pts))
        return int((np.arange(len(self.pts)) - rank).max(initial=0))


class PacketWriter:
    """Writes packets to a new file as they come."""

    def __init__(self, path: Path, time_base: Fraction) -> None:
        self._file: BinaryIO = path.open("xb")
        self._time_base = time_base
        self._pts, self._durations, self._sizes = array("q"), array("q"), array("q")
        self._keys, self._copied = array("B"), array("B")
        self._checksum = 0

    def write(self, packet: AnyPacket, *, copied: bool) -> None:
        """Raises Unfit: the packet does not say when it is shown in ticks of the time base."""
        base = packet.time_base
        if packet.pts is None or Fraction(base.numerator, base.denominator) != self._time_base:
            raise Unfit("its packets' times are not the clip's")
        data = memoryview(packet)
        self._file.write(data)
        self._checksum = crc32(data, self._checksum)
        self._pts.append(packet.pts)
        self._durations.append(packet.duration or 0)
        self._sizes.append(data.nbytes)
        self._keys.append(packet.is_keyframe)
        self._copied.append(copied)

    def finish(self) -> PacketIndex:
        """Bring all to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return PacketIndex(
            np.array(self._pts, np.int64),
            np.array(self._durations, np.int64),
            np.array(self._sizes, np.int64),
            np.array(self._keys, np.uint8),
            np.array(self._copied, np.uint8),
            self._checksum,
        )

    def close(self) -> None:
        self._file.close()


def stored_packets(
    path: Path, index: PacketIndex, time_base: Fraction
) -> Iterator[tuple[AnyPacket, bool]]:
    """Stored packets, without decoding times, and whether each is the source's own.

    Raises:
        Unfit: they are not what was stored.
    """
    checksum = 0
    with path.open("rb") as file:
        for number, size in enumerate(index.sizes.tolist()):
            data = file.read(size)
            checksum = crc32(data, checksum)
            packet: AnyPacket = Packet(data)
            packet.pts, packet.duration = int(index.pts[number]), int(index.durations[number])
            packet.time_base = time_base
            packet.is_keyframe = bool(index.keys[number])
            yield packet, bool(index.copied[number])
    if checksum != index.checksum:
        raise Unfit(f"{path.name} is not what was stored")
