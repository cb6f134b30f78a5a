"""The boxes of MP4 and MOV files, and the chunks of AVI, as far as they carry provenance.

Only headers are read, and nothing in a file moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sorawm_pipeline.errors import OutputError

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_MAX_BOXES = 200_000  # an hour of one-second fragments has 7,200; more than this is an attack


class Box(NamedTuple):
    """One box of an ISO base media file; `extension` is the identity of a `uuid` box."""

    kind: bytes
    start: int
    body: int
    end: int
    extension: bytes
    sized: bool


HEAD = 16
"""Bytes of a box that tell its size and kind, at most."""


def told(head: bytes) -> tuple[int, bytes, int]:
    """Size, kind and length of the header that a box begins with; size 0: up to the end."""
    size, kind = int.from_bytes(head[:4]), head[4:8]
    return (int.from_bytes(head[8:16]), kind, 16) if size == 1 else (size, kind, 8)


def walk(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Headers of the boxes from `start` to `end`; stops at the first that cannot be one."""
    while end - start >= 8:
        file.seek(start)
        head = file.read(32)
        size, kind, body = told(head)
        sized = size != 0
        if not sized:
            size = end - start
        extension = b""
        if kind == b"uuid":
            extension, body = head[body : body + 16], body + 16
        if size < body or start + size > end:
            return
        yield Box(kind, start, start + body, start + size, extension, sized)
        start += size


def promised_end(file: BinaryIO) -> int:
    """Where the last top-level box says that it ends, which is beyond a file that was cut short."""
    start, length = 0, file.seek(0, 2)
    for _ in range(_MAX_BOXES):
        file.seek(start)
        head = file.read(HEAD)
        size, _, _ = told(head)
        if len(head) < 8 or size < 8 or start + size >= length:
            return start + size if size >= 8 and len(head) >= 8 else start
        start += size
    return start


def _top_level(file: BinaryIO) -> Iterator[Box]:
    return islice(walk(file, 0, file.seek(0, 2)), _MAX_BOXES)


def c2pa_bytes(path: Path) -> int | None:
    """Size of the C2PA manifest store, found without opening it; None without one."""
    with path.open("rb") as file:
        if file.read(4) == b"RIFF":
            sizes = [size for kind, size in _chunks(file) if kind == b"C2PA"]
        else:
            sizes = [box.end - box.body for box in _top_level(file) if box.extension == _C2PA]
    return sum(sizes) if sizes else None


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Names and sizes of the chunks of a RIFF file."""
    start, end = 12, file.seek(0, 2)
    for _ in range(_MAX_BOXES):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        size = min(int.from_bytes(head[4:], "little"), end - start - 8)
        yield head[:4], size
        start += 8 + size + size % 2


def read_xmp(path: Path, limit: int) -> bytes | None:
    """The XMP packet as it stands in the file, or None without one.

    Raises:
        ValueError: it is longer than `limit`.
    """
    with path.open("rb") as file:
        box = _find_xmp(file)
        if box is None:
            return None
        if box.end - box.body > limit:
            raise ValueError(f"XMP packet of more than {limit >> 10} KiB")
        file.seek(box.body)
        return file.read(box.end - box.body)


def _find_xmp(file: BinaryIO) -> Box | None:
    """The `uuid` box of MP4, else QuickTime's own place, `moov/udta/XMP_`."""
    top = list(_top_level(file))
    for box in top:
        if box.extension == _XMP:
            return box
    for moov in top:
        for data in _inside(file, moov, b"moov", b"udta"):
            for box in _inside(file, data, b"udta", b"XMP_"):
                return box
    return None


def _inside(file: BinaryIO, parent: Box, kind: bytes, child: bytes) -> Iterator[Box]:
    if parent.kind == kind:
        for box in islice(walk(file, parent.body, parent.end), _MAX_BOXES):
            if box.kind == child:
                yield box


def append_xmp(path: Path, body: bytes) -> None:
    """Adds a packet at the end of a finished file; an older one becomes free space."""
    box = (24 + len(body)).to_bytes(4) + b"uuid" + _XMP + body
    with path.open("r+b") as file:
        last = None
        older = []
        for last in _top_level(file):
            if last.extension == _XMP:
                older.append(last)
        size = file.seek(0, 2)
        if last is None or last.end != size or not last.sized:
            raise OutputError(f"{path.name} is not a whole MP4 or MOV file.")
        tail = b""
        if last.kind == b"mfra":  # an index that readers look for at the very end
            file.seek(last.start)
            tail = file.read()
        file.seek(size - len(tail))
        file.write(box + tail)
        for stale in older:
            file.seek(stale.start + 4)
            file.write(b"free")
