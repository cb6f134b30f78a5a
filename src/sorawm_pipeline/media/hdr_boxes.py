"""HDR10 metadata in the sample entry of an MP4 or MOV file, which the muxer leaves out.

It copies them from side data of the stream, which PyAV cannot set. The index of a file that was
just written lies at its end, so it can grow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from sorawm_pipeline.media.extras import Mastering

_PATH = (b"mdia", b"minf", b"stbl", b"stsd")
_ENTRIES = 8
"""Bytes of a `stsd` box before its entries: version, flags, count."""


def write(
    path: Path, track: int, mastering: Mastering | None, light: tuple[int, int] | None
) -> bool:
    """Adds `mdcv` and `clli` to the first sample entry of a track, counted from 0.

    Returns:
        Whether that could be done: not if pictures lie behind the index.

    Raises:
        OSError: the disk refuses.
    """
    added = _mdcv(mastering) + _clli(light)
    with path.open("r+b") as file:
        moov, start = b"", 0
        while head := file.read(16):
            size, kind = struct.unpack(">I4s", head[:8])
            size = int.from_bytes(head[8:]) if size == 1 else size
            file.seek(start)
            if kind == b"moov":
                moov, at = file.read(size), start
            elif kind == b"mdat" and moov:
                return False
            start += max(size, 8)
            file.seek(start)
        if not moov or at + len(moov) != start:
            return False
        grown = bytearray(moov)
        boxes = _sample_entry(moov, track)
        if boxes is None:
            return False
        end = boxes[-1][1]
        for box, _ in boxes:
            size = int.from_bytes(grown[box : box + 4]) + len(added)
            grown[box : box + 4] = size.to_bytes(4)
        grown[end:end] = added
        file.seek(at)
        file.write(grown)
    return True


def _sample_entry(moov: bytes, track: int) -> list[tuple[int, int]] | None:
    """Where the boxes around a track's first sample entry begin and end, the outermost first."""
    found = [(0, len(moov))]
    tracks = [box for kind, *box in _children(moov, 8, len(moov)) if kind == b"trak"]
    if track >= len(tracks):
        return None
    start, end = tracks[track]
    found.append((start, end))
    for name in _PATH:
        inside = (box for kind, *box in _children(moov, start + 8, end) if kind == name)
        box = next(inside, None)
        if box is None:
            return None
        start, end = box
        found.append((start, end))
    entries = list(_children(moov, start + 8 + _ENTRIES, end))
    if not entries:
        return None
    _, first, last = entries[0]
    return [*found, (first, last)]


def _children(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while end - start >= 8:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            return
        yield kind, start, start + size
        start += size


def _mdcv(mastering: Mastering | None) -> bytes:
    """Green, blue, red, white in steps of 0.00002; luminances in 0.0001 candela."""
    if mastering is None:
        return b""
    red, green, blue, white = mastering.primaries
    points = [round(v * 50_000) for pair in (green, blue, red, white) for v in pair]
    low, high = (round(v * 10_000) for v in mastering.luminance)
    return struct.pack(">I4s8H2I", 32, b"mdcv", *points, high, low)


def _clli(light: tuple[int, int] | None) -> bytes:
    return b"" if light is None else struct.pack(">I4s2H", 12, b"clli", *light)
