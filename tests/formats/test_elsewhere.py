"""A result in another container: what it can hold is copied, what it can say otherwise is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from sorawm_pipeline.media.subtitles import rewritten
from tests.formats.facts import facts
from tests.formats.inputs import MOV_WORDS, WORDS
from tests.formats.outcome import Outcomes
from tests.formats.writing import Sound, Text, Written

MKV = Written(
    sounds=[Sound("flac", language="eng"), Sound("ac3")],
    texts=[Text("subrip", WORDS, language="fra")],
    attachments=[("notes.txt", "text/plain", b"shot on a Sunday")],
    chapters=["Out", "Home"],
)
MP4 = Written(sounds=[Sound()], texts=[Text("mov_text", MOV_WORDS, language="fra")])


def spoken(path: Path) -> list[tuple[Fraction, Fraction, str]]:
    """When each subtitle begins and how long it lasts, in seconds, and what it says."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        assert stream.metadata["language"] == "fra"
        mov = stream.codec_context.name == "mov_text"
        for packet in container.demux(stream):
            words = bytes(packet)[2:] if mov else bytes(packet)
            if words and packet.pts is not None:
                base = Fraction(packet.time_base)
                found.append((packet.pts * base, (packet.duration or 0) * base, words.decode()))
    return found


@pytest.mark.parametrize(
    ("clip", "source", "target", "codec"),
    [
        (MKV, "a.mkv", "a.mp4", "mov_text"),
        (MKV, "b.mkv", "b.mov", "mov_text"),
        (MP4, "c.mp4", "c.mkv", "subrip"),
    ],
)
def test_subtitles_are_said_in_the_words_of_the_container(
    clip: Written, source: str, target: str, codec: str, tmp_path: Path, outcomes: Outcomes
) -> None:
    report = outcomes.cleaned(clip(tmp_path / source), tmp_path / target)
    assert ("subtitle", codec) in facts(tmp_path / target).streams
    before, after = spoken(tmp_path / source), spoken(tmp_path / target)
    assert [words for *_, words in after] == ["one", "two"]
    for (start, lasts, _), (begins, stays, _) in zip(before, after, strict=True):
        shift = Fraction(1, 20)  # Matroska has milliseconds and no time before zero
        assert abs(begins - start) <= shift
        assert abs(stays - lasts) <= Fraction(1, 1000)
    assert report.encoder is not None
    assert any(f"written as {codec}" in line for line in report.encoder.left_out)


def test_what_another_container_cannot_hold_is_told(tmp_path: Path, outcomes: Outcomes) -> None:
    report = outcomes.cleaned(MKV(tmp_path / "a.mkv"), tmp_path / "a.mov")
    assert report.encoder is not None
    told = "\n".join(report.encoder.left_out)
    assert "audio stream 1: a mov file cannot hold it" in told, "FLAC"
    assert "this container holds no attachments" in told
    kept = facts(tmp_path / "a.mov")
    assert [kind for kind, _ in kept.streams] == ["video", "audio", "subtitle"]
    assert [labels for *_, labels in kept.chapters] == [(("title", "Out"),), (("title", "Home"),)]


@pytest.mark.parametrize(
    ("packet", "codec", "wanted", "said"),
    [
        (b"<i>Hi</i> there", "subrip", "mov_text", b"\0\x08Hi there"),
        (b"{\\an8}1 < 2", "subrip", "webvtt", b"1 < 2"),
        (b"\0\x02Hi\0\0\0\x0cstyl", "mov_text", "subrip", b"Hi"),
        (b"\0\0", "mov_text", "subrip", None),
        (b"\xff\xff", "mov_text", "subrip", None),
        (b"caf\xe9", "subrip", "subrip", "caf\N{REPLACEMENT CHARACTER}".encode()),
        ("é".encode() * 40_000, "subrip", "mov_text", b"\xff\xfe" + "é".encode() * 32_767),
    ],
)
def test_words_without_their_styling(
    packet: bytes, codec: str, wanted: str, said: bytes | None
) -> None:
    assert rewritten(packet, codec, wanted) == said
