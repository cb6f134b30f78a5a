from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import as_fraction, find_videos, is_video, probe
from tests.clips import LIMITS, Clip, audio_only

MakeClip = Callable[[str, Clip], Path]


def refusal(path: Path, **limits: object) -> InputError:
    with pytest.raises(InputError) as caught:
        probe(path, replace(LIMITS, **limits))  # type: ignore[arg-type]
    assert "\n" not in caught.value.message
    return caught.value


def test_probing_finds_what_the_clip_is(make_clip: MakeClip) -> None:
    path = make_clip(
        "clip.mp4",
        Clip(
            frames=7,
            pix_fmt="yuv422p10le",
            rate=Fraction(30000, 1001),
            rotation=90,
            sample_aspect=Fraction(4, 3),
            colour=(9, 16, 9, 1),
        ),
    )
    clip = probe(path, LIMITS)
    assert (clip.codec, clip.pixel_format, clip.layout.depth) == ("h264", "yuv422p10le", 10)
    assert (clip.width, clip.height) == (96, 64)
    assert (clip.display.shown_width, clip.display.shown_height) == (64, 128)
    assert clip.sample_aspect_tagged == Fraction(4, 3)
    assert clip.average_rate == Fraction(30000, 1001)
    assert clip.frames_claimed == 7
    assert clip.counts_frames
    colour = clip.colour
    assert (colour.primaries, colour.transfer, colour.matrix, colour.range) == (9, 16, 9, 1)


def test_colours_that_nobody_tagged_stay_unknown(make_clip: MakeClip) -> None:
    colour = probe(make_clip("clip.mp4", Clip()), LIMITS).colour
    assert (colour.primaries, colour.transfer, colour.matrix) == (2, 2, 2)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.mp4").message


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "is empty" in refusal(path).message


def test_a_text_file_under_a_videos_name(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("this is not a film\n" * 50)
    assert "is not a video" in refusal(path).message


def test_a_file_cut_before_its_index(make_clip: MakeClip, tmp_path: Path) -> None:
    whole = make_clip("whole.mp4", Clip()).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    assert "is not a video" in refusal(path).message


def test_sound_alone(tmp_path: Path) -> None:
    error = refusal(audio_only(tmp_path / "sound.mp4"))
    assert error.kind == "no_video"
    assert "only sound" in error.message


def test_a_folder_and_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "not a regular file" in refusal(tmp_path / "pipe.mp4").message
    assert "not a regular file" in refusal(tmp_path).message


def test_a_playlist_opens_nothing_else(make_clip: MakeClip, tmp_path: Path) -> None:
    make_clip("real.mp4", Clip())
    for name, text in (
        ("list.mp4", "ffconcat version 1.0\nfile real.mp4\n"),
        ("list.m3u8", "#EXTM3U\n#EXTINF:1,\nreal.mp4\n#EXT-X-ENDLIST\n"),
    ):
        (tmp_path / name).write_text(text)
        assert "is not a video" in refusal(tmp_path / name).message


def test_a_protocol_in_a_name_is_only_a_name(make_clip: MakeClip, tmp_path: Path) -> None:
    make_clip("real.mp4", Clip())
    assert "does not exist" in refusal(tmp_path / "concat:real.mp4").message
    odd = make_clip("subfile,,start,0,end,9,,:x.mp4", Clip())
    assert probe(odd, LIMITS).frames_claimed == 12


def test_limits_are_checked(make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", Clip())
    assert refusal(path, max_pixels=96 * 64 - 1).kind == "too_large"
    assert refusal(path, max_seconds=0.4).kind == "too_large"
    assert refusal(path, codecs=("vp9",)).kind == "unsupported"
    assert "decode.limits.formats" in refusal(path, formats=("matroska",)).message
    assert probe(path, replace(LIMITS, codecs=("h264",))).codec == "h264"


def test_a_name_that_is_not_utf8(make_clip: MakeClip, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 \n-.mp4")
    make_clip("clip.mp4", Clip()).rename(odd)
    assert probe(odd, LIMITS).frames_claimed == 12


def test_folders_are_searched_by_content(make_clip: MakeClip, tmp_path: Path) -> None:
    (tmp_path / "b" / ".hidden").mkdir(parents=True)
    clip = make_clip("a.mp4", Clip()).rename(tmp_path / "a.bin")
    for place in ("b/c.mp4", "b/.hidden/d.mp4", ".e.mp4"):
        (tmp_path / place).write_bytes(clip.read_bytes())
    (tmp_path / "b" / "f.mp4").write_text("no")
    found = find_videos(tmp_path, lambda path: is_video(path, LIMITS))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.bin", "b/c.mp4"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(Fraction(1, 25), Fraction(1, 25)), (None, None), (Fraction(0), None), (3, Fraction(3))],
)
def test_rationals_of_any_make(value: object, expected: Fraction | None) -> None:
    assert as_fraction(value) == expected
