"""Files that are small and ask for much are refused before anybody believes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bombs
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media import claims
from sorawm_pipeline.media.clip import is_video, open_clip, open_input, probe
from tests.clips import LIMITS, Clip, remuxed

MakeClip = Callable[[str, Clip], Path]


@pytest.mark.slow
def test_bombs_are_refused_at_once_and_cost_little(tmp_path: Path) -> None:
    paths = [make(tmp_path / name) for name, make in bombs.BOMBS.items()]
    for path, cost in zip(paths, bombs.measured(paths), strict=True):
        assert path.stat().st_size < 1_000_000, path.name
        assert cost.kind == "too_large", cost
        assert str(path) in cost.message
        assert "\n" not in cost.message
        assert cost.cpu_s < 1, cost
        assert cost.grown_bytes < 150_000_000, cost
        assert not path.with_name(f"out-{path.name}").exists()


def test_a_claim_is_found_wherever_libav_might_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = bombs.many_frames(tmp_path / "bomb.mp4")
    monkeypatch.setattr(claims, "CHUNK", 7)  # so that the tag lies across chunks
    with pytest.raises(InputError, match="cannot be"):
        claims.check(bomb)
    data = bytearray(bomb.read_bytes())
    at = data.index(b"moov") - 4
    data[at : at + 4] = (1 << 31).to_bytes(4)  # ends behind the file, and is read all the same
    bomb.write_bytes(data)
    with pytest.raises(InputError, match="cannot be"):
        claims.check(bomb)


def test_what_lies_in_pictures_is_no_claim(make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", Clip())
    data = path.read_bytes()
    at = data.index(b"mdat") + 40
    path.write_bytes(data[:at] + b"stsz" + b"\xff" * 12 + data[at + 16 :])
    claims.check(path)


def test_a_tag_before_a_tag_hides_nothing(tmp_path: Path) -> None:
    for tag in (b"stsz", b"trun", b"trak"):
        data = bombs.many_frames(tmp_path / "bomb.mp4").read_bytes()
        at = data.index(b"stsz") - 8
        hidden = tmp_path / "hidden.mp4"
        hidden.write_bytes(data[:at] + tag + data[at + 4 :])
        with pytest.raises(InputError, match="cannot be"):
            claims.check(hidden)


def in_index(clip: Path, *boxes: bytes) -> None:
    """Adds what lies inside of nested boxes to the end of the index."""
    data = clip.read_bytes()
    body = boxes[-1]
    for kind in reversed(boxes[:-1]):
        head = bytes(4) + HANDLER if kind == b"meta" else b""
        body = (8 + len(head) + len(body)).to_bytes(4) + kind + head + body
    at = data.index(b"moov") - 4
    size = int.from_bytes(data[at : at + 4])
    end = at + size
    grown = (size + len(body)).to_bytes(4) + data[at + 4 : end] + body
    clip.write_bytes(data[:at] + grown + data[end:])


HANDLER = (32).to_bytes(4) + b"hdlr" + bytes(8) + b"mdirappl" + bytes(8)
LIKE_A_TAG = b"\xff\xd8stsz" + b"\xff" * 12


def test_a_cover_picture_may_look_like_a_tag(make_clip: MakeClip) -> None:
    clip = make_clip("clip.mp4", Clip())
    in_index(clip, b"udta", b"meta", b"ilst", b"covr", b"data", LIKE_A_TAG)
    claims.check(clip)
    assert probe(clip, LIMITS).frames_claimed == 12


@pytest.mark.parametrize("kind", [b"covr", b"stsd", b"odd "])
def test_but_not_where_parsers_may_differ(make_clip: MakeClip, kind: bytes) -> None:
    clip = make_clip("clip.mp4", Clip())
    box = (8 + len(LIKE_A_TAG)).to_bytes(4) + kind + LIKE_A_TAG
    in_index(clip, b"udta", box + (b"no box at all" if kind == b"covr" else b""))
    with pytest.raises(InputError, match="cannot be"):
        claims.check(clip)


def test_an_index_that_hides_is_not_opened(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip("clip.mp4", Clip())
    compressed = tmp_path / "compressed.mov"
    compressed.write_bytes(clip.read_bytes() + (16).to_bytes(4) + b"moov" + bytes(4) + b"cmov")
    with pytest.raises(InputError, match="compressed index"):
        probe(compressed, LIMITS)
    prefixed = tmp_path / "prefixed.mp4"  # libav looks behind boxes it does not know
    prefixed.write_bytes((16).to_bytes(4) + b"what" + bytes(8) + clip.read_bytes())
    with pytest.raises(InputError, match="is not a video"):
        probe(prefixed, LIMITS)


@pytest.mark.parametrize("flags", ["", "faststart", "frag_keyframe+empty_moov"])
def test_honest_files_open(make_clip: MakeClip, tmp_path: Path, flags: str) -> None:
    source = make_clip("clip.mp4", Clip(frames=30))
    assert probe(remuxed(source, tmp_path / "other.mp4", flags), LIMITS).codec == "h264"


def test_streams_are_counted(make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clip.mp4", "clip.mkv"):
        path = make_clip(name, Clip(audio=True))
        monkeypatch.setattr(claims, "MAX_STREAMS", 2)
        open_input(path, LIMITS).close()
        monkeypatch.setattr(claims, "MAX_STREAMS", 1)
        with pytest.raises(InputError, match="2 streams or more, and 1 are allowed"):
            open_input(path, LIMITS)
        assert not is_video(path, LIMITS)


def test_no_format_allowed_means_none(make_clip: MakeClip, tmp_path: Path) -> None:
    path = make_clip("clip.mkv", Clip())
    with pytest.raises(InputError, match=r"decode\.limits\.formats"):
        open_input(path, replace(LIMITS, formats=("mov", "mp4")))
    copy = shutil.copy(path, tmp_path / "copy.mp4")
    assert probe(Path(copy), LIMITS).format_name == "matroska,webm"


async def test_a_clip_is_checked_once(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is opened; its result is another file."""
    checked: list[Path] = []
    check = claims.check

    def counted(path: Path) -> None:
        checked.append(path)
        check(path)

    monkeypatch.setattr(claims, "check", counted)
    source = make_clip("clip.mp4", Clip(frames=12))
    config = PipelineConfig.model_validate({"detect": {"weights": "none"}})
    await Pipeline(config).process(source, tmp_path / "out.mp4")
    assert checked.count(source) == 1


def test_a_file_that_changed_is_checked_again(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip("clip.mp4", Clip())
    clip = probe(source, LIMITS)
    checked: list[Path] = []
    monkeypatch.setattr(claims, "check", checked.append)
    open_clip(clip, LIMITS).close()
    assert checked == []
    with source.open("ab") as file:
        file.write(bytes.fromhex("0000000866726565"))  # an empty box
    open_clip(clip, LIMITS).close()
    assert checked == [source]
