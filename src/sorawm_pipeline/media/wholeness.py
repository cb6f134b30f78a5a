"""Whether a file is as long as its container says: found from headers, nothing is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from sorawm_pipeline.media import boxes

EBML, SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")


def missing_bytes(path: Path) -> int:
    """Bytes that the outermost structure of an MP4, AVI or Matroska file promises beyond its end.

    0 for a whole file, and wherever the container does not say (streams, recordings under way).
    """
    with path.open("rb") as file:
        head = file.read(12)
        length = file.seek(0, 2)
        if head[:4] == EBML:
            end = _segment_end(file)
        elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            end = 8 + int.from_bytes(head[4:8], "little")
        elif head[4:8] == b"ftyp":
            end = boxes.promised_end(file)
        else:
            end = 0
    return max(0, end - length)


def _segment_end(file: BinaryIO) -> int:
    """Where the segment behind the EBML header ends; 0 if it does not say."""
    file.seek(4)
    header = _variable_int(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != SEGMENT:
        return 0
    size = _variable_int(file)
    return 0 if size is None else file.tell() + size


def _variable_int(file: BinaryIO) -> int | None:
    """An EBML number of 1 to 8 bytes; None if it is missing, malformed, or means "unknown"."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return None
    value = int.from_bytes(first + rest) & (1 << 7 * width) - 1
    return None if value == (1 << 7 * width) - 1 else value
