from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.buffer import Buffer

from sorawm_pipeline.media import hdr_boxes
from sorawm_pipeline.media.extras import Mastering
from tests.clips import Clip, remuxed
from tests.media.test_provenance import frames_and_packets

MakeClip = Callable[[str, Clip], Path]
GREY = (Fraction(3, 10), Fraction(3, 10))
GRADE = Mastering((GREY, GREY, GREY, GREY), (Fraction(1, 100), Fraction(1000)))


def test_no_packet_moves(make_clip: MakeClip) -> None:
    clip = make_clip("clip.mp4", Clip(audio=True))
    before = frames_and_packets(clip)
    size = clip.stat().st_size
    assert hdr_boxes.write(clip, 0, GRADE, (1000, 400))
    assert clip.stat().st_size == size + 32 + 12
    assert frames_and_packets(clip) == before
    with av.open(str(clip)) as container:
        light = next(container.decode(video=0)).side_data.get("CONTENT_LIGHT_LEVEL")
        assert isinstance(light, Buffer)
        assert bytes(light) == struct.pack("=2I", 1000, 400)


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov"])
def test_an_index_before_the_pictures_is_left_alone(
    make_clip: MakeClip, tmp_path: Path, flags: str
) -> None:
    clip = remuxed(make_clip("clip.mp4", Clip()), tmp_path / "first.mp4", flags)
    before = clip.read_bytes()
    assert not hdr_boxes.write(clip, 0, GRADE, None)
    assert clip.read_bytes() == before


def test_a_file_without_such_a_track_is_left_alone(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip("clip.mp4", Clip())
    text = tmp_path / "text.mp4"
    text.write_text("no film, but long enough for a header or two")
    for path, track in ((clip, 1), (text, 0)):
        before = path.read_bytes()
        assert not hdr_boxes.write(path, track, GRADE, None)
        assert path.read_bytes() == before
