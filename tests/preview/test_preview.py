"""Previews: what is chosen, what is drawn where, and what is left on disk."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sorawm_pipeline import cli, preview
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import probe
from sorawm_pipeline.media.provenance import read_provenance
from sorawm_pipeline.preview import sheet
from sorawm_pipeline.preview.drawing import FILLED, PAPER, SEEN, TimeLine, Viewer, draw_marks
from sorawm_pipeline.preview.findings import Findings
from sorawm_pipeline.preview.sheet import compose, telling
from sorawm_pipeline.report import DetectReport, FrameMark, FrameMarks
from tests.clips import HEIGHT, LIMITS, MARK, WIDTH, Clip, rgb, scene, times

MakeClip = Callable[[str, Clip], Path]
Say = pytest.CaptureFixture[str]
TENTH = Fraction(1, 10)
PLACES = ((10.0, 10.0, 30.0, 20.0), (60.0, 40.0, 80.0, 50.0))


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text("log: {level: error}\n")
    return path


def mark(place: int = 0, origin: str = "inferred") -> FrameMark:
    return FrameMark(box=PLACES[place], confidence=0.87, origin=origin)  # type: ignore[arg-type]


def found(text: str, pts: list[int] | None = None) -> DetectReport:
    """One letter per frame: `.` nothing, `a` and `b` seen in two places, `A` filled, `2` both."""
    marks: dict[str, tuple[FrameMark, ...]] = {
        ".": (),
        "a": (mark(0),),
        "b": (mark(1),),
        "A": (mark(0, "filled"),),
        "2": (mark(0), mark(1)),
    }
    frames = [
        FrameMarks(index=i, pts=pts[i] if pts else i, marks=marks[letter])
        for i, letter in enumerate(text)
    ]
    return DetectReport(
        input="a.mp4", width=WIDTH, height=HEIGHT, frames_inferred=0, frames=tuple(frames)
    )


def findings(text: str, pts: list[int] | None = None) -> Findings:
    return Findings(found(text, pts), TENTH)


def near(pixel: object, colour: tuple[int, int, int], by: int = 0) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - colour).max() <= by)


# findings


def test_spans() -> None:
    spans = findings(".aaAa.b2b").spans
    assert [(span.first, span.last, span.filled) for span in spans] == [
        (1, 4, (3,)),
        (6, 8, ()),
        (7, 7, ()),
    ]


def test_a_mark_whose_word_fades_stays_one_span() -> None:
    report = found("aaaabb")
    icon = mark().model_copy(update={"box": (10.0, 10.0, 14.0, 20.0)})
    frames = [
        f.model_copy(update={"marks": (icon,)}) if f.index in (2, 3) else f for f in report.frames
    ]
    joined = Findings(report.model_copy(update={"frames": tuple(frames)}), TENTH)
    assert [(span.first, span.last) for span in joined.spans] == [(0, 3), (4, 5)]


def test_seconds_are_those_of_the_time_stamps() -> None:
    assert findings("...", [7, 9, 17]).seconds == pytest.approx([0, 0.2, 1.0, 1.5])
    assert findings("").seconds == pytest.approx([0.1])


# the choice of frames


def test_telling_frames_of_a_jump() -> None:
    chosen, left_out = telling(findings("aaaa.bbbb..."))
    assert chosen == {
        0: "there from the start",
        1: "in between",
        3: "before a jump",
        4: "no mark",
        5: "after a jump",
        6: "in between",
        8: "last one before it goes",
        10: "no mark",
    }
    assert left_out == 0


def test_a_filled_frame_is_shown() -> None:
    assert telling(findings("aaaaaaaaAAAa"))[0][9] == "filled in"


def test_the_end_of_the_clip_is_no_departure() -> None:
    assert telling(findings("......aa"))[0] == {
        2: "no mark",
        6: "a mark appears",
        7: "there to the end",
    }


def test_too_many_frames_are_spread_evenly_and_counted() -> None:
    chosen, left_out = telling(findings("a.........." * 40))
    assert len(chosen) == sheet.TILES
    assert set(chosen) <= {11 * k for k in range(40)}
    assert max(chosen) > 11 * 36
    assert left_out == 40 - sheet.TILES + 40


def test_even_frames_where_nothing_is_marked() -> None:
    assert list(telling(findings("." * 60))[0]) == [5, 15, 25, 35, 45, 55]
    assert list(telling(findings(".."))[0]) == [0, 1]
    assert telling(findings("")) == ({}, 0)


# drawing


def test_boxes_go_around_what_they_show() -> None:
    picture = Image.new("RGB", (96, 64), (10, 20, 30))
    draw_marks(picture, [mark(0), mark(1, "filled")], 8)
    pixels = np.asarray(picture)
    for box, colour in ((PLACES[0], SEEN), (PLACES[1], FILLED)):
        x0, y0, x1, y1 = map(int, box)
        assert (pixels[y0:y1, x0:x1] == (10, 20, 30)).all()
        assert (pixels[y0:y1, x0 - 1] == colour).all()
        assert (pixels[y0:y1, x1] == colour).all()
        assert (pixels[y1, x0:x1] == colour).all()


def test_a_mask_is_translucent() -> None:
    picture = Image.new("RGB", (96, 64), (0, 0, 0))
    half = np.zeros((10, 20), np.float32)
    half[:, :10] = 1
    draw_marks(picture, [mark(0), mark(1)], 8, masks=[half])
    pixels = np.asarray(picture)
    assert near(pixels[15, 12], (0, 102, 127), 1)
    assert near(pixels[15, 28], (0, 0, 0))
    assert near(pixels[45, 70], (0, 0, 0))


@pytest.mark.parametrize(
    "box", [(-5.0, -5.0, 3.0, 3.0), (90.0, 60.0, 96.0, 64.0), (5.0, 5.0, 5.0, 5.0)]
)
def test_boxes_at_the_edge(box: tuple[float, float, float, float]) -> None:
    picture = Image.new("RGB", (96, 64))
    draw_marks(picture, [mark().model_copy(update={"box": box})], 12)
    assert np.asarray(picture).any()


def test_the_time_line_follows_the_time_stamps() -> None:
    strip = np.asarray(TimeLine(findings("aA.2", [0, 10, 20, 90]), 120).draw(21))
    row = [tuple(map(int, strip[4, x])) for x in (5, 15, 40, 100)]
    assert row[:2] == [SEEN, FILLED]
    assert row[2] not in (SEEN, FILLED)
    assert row[3] == SEEN
    lower = [tuple(map(int, strip[15, x])) for x in (5, 100)]
    assert lower == [row[2], SEEN]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotated_clips_are_shown_upright(make_clip: MakeClip, rotation: int) -> None:
    clip = probe(make_clip("r.mp4", Clip(frames=1, rotation=rotation)), LIMITS)
    box = clip.display.to_shown(MARK)
    size = clip.display.shown_width, clip.display.shown_height
    (frame,) = Findings(
        found(".").model_copy(update={"width": size[0], "height": size[1]}), clip.time_base
    ).pictures(clip, LIMITS)
    pixels = np.asarray(Viewer(clip, *size).picture(frame))
    assert pixels.shape == (size[1], size[0], 3)
    assert pixels[box.y0 + 2 : box.y1 - 2, box.x0 + 2 : box.x1 - 2].min() > 230
    assert pixels.min(axis=2)[: max(0, box.y0 - 2)].max(initial=0) < 200


# the files


def detect(yaml: Path, clip: Path, target: Path, *words: object) -> int:
    return cli.call(["detect", str(yaml), str(clip), "--preview", str(target), *map(str, words)])


def test_a_sheet(
    yaml: Path, make_clip: MakeClip, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    clip = make_clip("a.mp4", Clip())
    assert detect(yaml, clip, tmp_path / "a.png") == 0
    assert capsys.readouterr().out == f"12 of 12 frames marked -> {tmp_path / 'a.png'}\n"
    with Image.open(tmp_path / "a.png") as picture:
        assert "preview" in picture.info["Comment"]
        assert "a preview, boxes" in picture.info["XML:com.adobe.xmp"]
        pixels = np.asarray(picture)
    assert near(pixels[0, 0], PAPER)
    assert (pixels == SEEN).all(axis=2).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.png", "pipeline.yaml"]


def test_a_sheet_without_marks_says_so(make_clip: MakeClip) -> None:
    clip = probe(make_clip("a.mp4", Clip(frames=6, draw=scene)), LIMITS)
    with av.open(str(clip.path)) as container:
        pts = [frame.pts or 0 for frame in container.decode(video=0)]
    blank = np.asarray(compose(clip, LIMITS, Findings(found("......", pts), clip.time_base)))
    marked = np.asarray(compose(clip, LIMITS, Findings(found("a.....", pts), clip.time_base)))
    words = slice(30, 60)  # the line below the title
    assert (blank[words] == FILLED).all(axis=2).any()
    assert not (marked[words] == FILLED).all(axis=2).any()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_film_keeps_the_times(
    yaml: Path, make_clip: MakeClip, tmp_path: Path, detectors: object, suffix: str
) -> None:
    pts = [0, 1, 5, 6, 14, 15, 16, 40, 41, 42, 43, 90]
    # Matroska begins with the sound where that begins earlier, and the picture with it
    with_sound = suffix != ".mkv"
    source = make_clip("a.mp4", Clip(pts=pts, time_base=Fraction(1, 50), audio=with_sound))
    target = tmp_path / f"b{suffix}"
    assert detect(yaml, source, target, "--report", tmp_path / "r.json") == 0
    assert times(target) == times(source)
    assert (tmp_path / "r.json").exists()
    assert not list(tmp_path.glob(".sorawm-*"))
    with av.open(str(target)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        assert "a preview, boxes" in tags["comment"]
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (96, 64 + 2 * 11 + 11 + 1)
    picture = rgb(target)[0]
    assert near(picture[16, MARK.x1], SEEN, 110)  # chroma is shared by four pixels
    assert near(picture[16, 32], (255, 255, 255), 30)


def test_a_rotated_film_with_odd_sides(
    yaml: Path, make_clip: MakeClip, tmp_path: Path, detectors: object
) -> None:
    aspect = Fraction(97, 96)  # makes the displayed side odd
    source = make_clip("a.mp4", Clip(rotation=90, sample_aspect=aspect))
    assert detect(yaml, source, tmp_path / "b.mp4") == 0
    pictures = rgb(tmp_path / "b.mp4")
    assert len(pictures) == 12
    assert pictures[0].shape == (97 + 33, 64, 3)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert probe(tmp_path / "b.mp4", LIMITS).display_matrix is None
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)


def test_the_source_type_is_carried_on(
    yaml: Path, make_clip: MakeClip, tmp_path: Path, detectors: object
) -> None:
    origin = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    source = make_clip("a.mkv", Clip(tags=(("DIGITAL_SOURCE_TYPE", origin), ("comment", "mine"))))
    for name in ("b.mkv", "b.mp4", "b.png"):
        assert detect(yaml, source, tmp_path / name) == 0
    assert read_provenance(tmp_path / "b.mkv").digital_source_type == origin
    assert read_provenance(tmp_path / "b.mp4").digital_source_type == origin
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.info["Comment"].startswith("mine\nEdited with")
        assert origin in picture.info["XML:com.adobe.xmp"]


@pytest.mark.parametrize(
    "name", ["a.mp4", "link.mp4", "b.webm", "b", "none/b.png", "old.png", "folder.png"]
)
def test_refused_before_anything_is_looked_at(
    yaml: Path, make_clip: MakeClip, tmp_path: Path, detectors: list[object], capsys: Say, name: str
) -> None:
    source = make_clip("a.mp4", Clip())
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "old.png").write_text("old")
    (tmp_path / "folder.png").mkdir()
    names = sorted(tmp_path.iterdir())
    assert detect(yaml, source, tmp_path / name) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert detectors == []
    assert sorted(tmp_path.iterdir()) == names
    assert source.read_bytes() == before
    assert (tmp_path / "old.png").read_text() == "old"


def test_overwrite(
    yaml: Path, make_clip: MakeClip, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    source = make_clip("a.mp4", Clip())
    target = tmp_path / "old.png"
    target.write_text("old")
    assert detect(yaml, source, target, "--overwrite") == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert detect(yaml, source, source, "--overwrite") == 2
    assert detect(yaml, source, target, "--overwrite", "--report", target) == 2


@pytest.mark.parametrize("name", ["b.png", "b.mp4"])
def test_a_clip_that_changed_meanwhile(make_clip: MakeClip, tmp_path: Path, name: str) -> None:
    source = make_clip("a.mp4", Clip())
    config = PipelineConfig()
    target = preview.prepare(config, source, tmp_path / name, overwrite=False)
    with pytest.raises(InputError, match="changed while"):
        preview.write(config, found("aaaa"), source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
