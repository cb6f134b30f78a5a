"""HDR10 metadata in the sample entry of an MP4 or MOV file, which the muxer leaves out.

It copies them from side data of the stream, which PyAV cannot set. The index of a file that was
just written lies at its end, so it can grow.
"""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

from sorawm_pipeline.media import boxes
from sorawm_pipeline.media.boxes import Box
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
        length = file.seek(0, 2)
        *_, last = [None, *boxes.walk(file, 0, length)]
        if last is None or last.kind != b"moov" or last.end != length:
            return False
        file.seek(last.start)
        grown = bytearray(file.read())
        around = _sample_entry(bytes(grown), track)
        if around is None:
            return False
        for box in around:
            size = box.end - box.start + len(added)
            grown[box.start : box.start + 4] = size.to_bytes(4)
        end = around[-1].end
        grown[end:end] = added
        file.seek(last.start)
        file.write(grown)
    return True


def _sample_entry(moov: bytes, track: int) -> list[Box] | None:
    """The boxes around a track's first sample entry, the outermost first, and that entry."""
    index = BytesIO(moov)
    found = list(boxes.walk(index, 0, len(moov)))
    inside = [box for box in boxes.walk(index, found[0].body, found[0].end) if box.kind == b"trak"]
    for name in (*_PATH, None):
        if track >= len(inside):
            return None
        box, track = inside[track], 0
        found.append(box)
        start = box.body + (_ENTRIES if box.kind == b"stsd" else 0)
        inside = [one for one in boxes.walk(index, start, box.end) if name in (None, one.kind)]
    return [*found, inside[0]] if inside else None


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
