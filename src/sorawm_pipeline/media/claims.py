"""What an MP4 or MOV file claims to hold, found before a library that believes it is asked.

libav makes an entry of 24 bytes for every sample that an index claims: gigabytes for a file of one
kilobyte. Boxes can be nested so that two parsers differ about them, so tags are looked for wherever
libav might read an index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media import boxes

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
_TAG = re.compile(b"stsz|stz2|trun|trak|cmov")
_COUNT = {b"stsz": 12, b"stz2": 12, b"trun": 8}
"""Bytes from a tag to its number of samples."""

_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"ilst"))
_TABLES = frozenset((b"stco", b"co64", b"stts", b"ctts", b"stss", b"stsc", b"covr"))


class Checked(NamedTuple):
    """A file whose claims were looked at, as it was then."""

    device: int
    inode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Checked:
        """A file as it is now. Raises OSError: it is not there."""
        status = path.stat()
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def is_iso(path: Path) -> bool:
    """Whether a file begins as MP4 and MOV files do."""
    with path.open("rb") as file:
        return file.read(8)[4:] in FIRST_BOXES


def check(path: Path) -> None:
    """Look for claims in an MP4 or MOV file.

    Raises:
        InputError: it claims what cannot be, or hides what it claims.
    """
    with path.open("rb") as file:
        length = file.seek(0, 2)
        try:
            _count(path, file, length, [])
        except InputError:  # perhaps numbers or a cover picture that only look like a tag
            _count(path, file, length, list(_data(file, 0, length)))


def _count(path: Path, file: BinaryIO, length: int, data: list[tuple[int, int]]) -> None:
    """Add up what is claimed outside of some ranges of bytes. Raises as `check`."""
    samples = tracks = 0
    for start, end in _indexes(file, length):
        for place, tag, count in _tags(file, start, end):
            if any(begin <= place < stop for begin, stop in data):
                continue
            if tag == b"cmov":
                raise InputError(
                    f"{path} has a compressed index, which is not opened; remux it first",
                    kind="unsupported",
                )
            tracks += tag == b"trak"
            samples += count
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
        size, kind, _ = boxes.told(file.read(boxes.HEAD))
        if size == 0:
            size = length - start
        if size < 8:
            return
        if kind not in OPAQUE:
            yield start, min(start + size, length)
        start += size


def _tags(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, bytes, int]]:
    """Place, name and number of samples of every tag, also where it lies across two chunks."""
    done = start
    while start < end:
        file.seek(start)
        data = file.read(CHUNK + 16)
        for found in _TAG.finditer(data):
            place, tag = start + found.start(), found.group()
            if done <= place < end and found.start() < CHUNK:
                done = place + len(tag)
                at = found.start() + _COUNT.get(tag, len(data))
                yield place, tag, int.from_bytes(data[at : at + 4])
        start += CHUNK


def _data(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Ranges of bytes that are plain data to any parser.

    They belong to boxes that hold no others, all of whose parents are filled by their children
    exactly. Where that is not so parsers may differ, and nothing is believed.
    """
    children = []
    place = start
    while place < end:
        file.seek(place)
        head = file.read(8)
        size, kind = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or size < 8 or place + size > end:
            return
        children.append((kind, place, place + size))
        place += size
    for kind, first, last in children:
        if kind in _TABLES:
            yield first + 8, last
        elif kind in _PARENTS:
            yield from _data(file, first + 8, last)
        elif kind == b"meta":
            file.seek(first + 8)
            handler = file.read(16).find(b"hdlr")  # libav looks for it, as QuickTime has no flags
            if handler in (4, 8):
                yield from _data(file, first + 8 + handler - 4, last)
