"""What libav's AVI muxer gets wrong about copied sound, put right in the finished file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HEADERS = 1 << 16
"""Bytes in which every stream's header lies; those of a stream take some hundred."""

_LENGTH, _SAMPLE_SIZE, _SIZE = 8 + 32, 8 + 44, 8 + 48


def count_packets(path: Path, packets: Mapping[int, int]) -> None:
    """Let the time of some streams be told by packets.

    The muxer counts bytes where a stream was read from another AVI, as if they were PCM; packets of
    AAC or AC-3 last equally long, whatever their sizes.

    Args:
        path: a finished AVI.
        packets: how many there are, by index of their stream.

    Raises:
        OSError: the disk refuses.
    """
    with path.open("r+b") as file:
        headers = file.read(HEADERS)
        at = -1
        for index in range(max(packets, default=-1) + 1):
            at = headers.find(b"strh", at + 1)
            if at < 0 or at + _SIZE > len(headers):
                return
            if index in packets:
                file.seek(at + _LENGTH)
                file.write(packets[index].to_bytes(4, "little"))
                file.seek(at + _SAMPLE_SIZE)
                file.write(bytes(4))
