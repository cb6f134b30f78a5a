"""What an MP4 or MOV file claims to hold, found before a library that believes it is asked.

libav makes an entry of 24 bytes for every sample that an index claims: gigabytes for a file of one
kilobyte. Boxes can be nested so that two parsers differ about them, so tags are looked for wherever
libav might read an index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sorawm_pipeline.errors import InputError

MAX_STREAMS = 256
"""Streams that a file may have; those with many have fonts for subtitles."""

FIRST_BOXES = frozenset(
    (
        *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide"),
        *(b"pnot", b"uuid", b"junk", b"pict", b"udta", b"meta", b"prfl", b"sidx"),
    )
)
OPAQUE = frozenset((b"mdat", b"free", b"skip", b"uuid"))
CHUNK = 1 << 20
_INDEX = re.compile(rb"(?s)(?:(?:stsz|stz2).{8}|trun.{4})(.{4})|(trak)|(cmov)")
_LONGEST = 16


def is_iso(path: Path) -> bool:
    """Whether a file begins as MP4 and MOV files do."""
    with path.open("rb") as file:
        return file.read(8)[4:] in FIRST_BOXES


def check(path: Path) -> None:
    """Look for claims in an MP4 or MOV file.

    Raises:
        InputError: it claims what cannot be, or hides what it claims.
    """
    samples = tracks = 0
    with path.open("rb") as file:
        length = file.seek(0, 2)
        for start, end in _indexes(file, length):
            for found in _tags(file, start, end):
                count, track, compressed = found.groups()
                if compressed:
                    raise InputError(
                        f"{path} has a compressed index, which is not opened; remux it first",
                        kind="unsupported",
                    )
                tracks += track is not None
                samples += int.from_bytes(count or b"")
                if samples > length:
                    raise impossible(path, samples, length)
                if tracks > MAX_STREAMS:
                    raise too_many(path, tracks)


def impossible(path: Path, samples: int, length: int) -> InputError:
    return InputError(
        f"{path} claims {samples} frames or more in {length} bytes, which cannot be",
        kind="too_large",
    )


def too_many(path: Path, streams: int) -> InputError:
    return InputError(
        f"{path} has {streams} streams or more, and {MAX_STREAMS} are allowed", kind="too_large"
    )


def _indexes(file: BinaryIO, length: int) -> Iterator[tuple[int, int]]:
    """Ranges of bytes of the outermost boxes in which an index may lie."""
    start = 0
    while length - start >= 8:
        file.seek(start)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4]), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16])
        elif size == 0:
            size = length - start
        if size < 8:
            return
        if kind not in OPAQUE:
            yield start, min(start + size, length)
        start += size


def _tags(file: BinaryIO, start: int, end: int) -> Iterator[re.Match[bytes]]:
    """Every tag with its count, also where it lies across two chunks."""
    done = start
    while start < end:
        file.seek(start)
        data = file.read(min(CHUNK + _LONGEST, end - start))
        for found in _INDEX.finditer(data):
            if start + found.start() >= done and found.start() < CHUNK:
                done = start + found.end()
                yield found
        start += CHUNK
