"""Plain subtitles in the words of another container: times and text stay, styling does not."""

from __future__ import annotations

import re

WRITTEN_AS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
"""The subtitles of plain text that a muxer takes."""

TEXTS = frozenset(("subrip", "srt", "text", "webvtt", "mov_text"))
_TAG = re.compile(r"</?[a-z][^<>]*>|\{\\[^{}]*\}", re.IGNORECASE)
_LONGEST = 0xFFFF


def rewritten(packet: bytes, codec: str, wanted: str) -> bytes | None:
    """One subtitle in another codec of `TEXTS`; None where it says nothing."""
    if codec == "mov_text":
        length = int.from_bytes(packet[:2])
        words = packet[2 : 2 + length]
    else:
        words = packet
    text = _TAG.sub("", words.decode("utf-8", "replace")).strip("\r\n\0")
    if not text:
        return None
    plain = text.encode()
    if wanted == "mov_text":
        plain = plain[:_LONGEST].decode("utf-8", "ignore").encode()
        return len(plain).to_bytes(2) + plain
    return plain
