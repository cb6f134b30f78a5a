"""Which groups are copied, told for any boundaries and any changes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.media.clip import probe
from sorawm_pipeline.media.gops import Step, Walk, survey
from sorawm_pipeline.media.parameter_sets import Unfit
from tests.clips import LIMITS, Clip, remuxed, scene

MOMENTS = st.integers(-1000, 10_000)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], list[int], set[int]]:
    """Moments of frames, those of them that begin a group, and those that change."""
    pts = sorted(draw(st.sets(MOMENTS, min_size=1, max_size=60)))
    starts = {pts[0]} | draw(st.sets(st.sampled_from(pts)))
    changed = draw(st.sets(st.sampled_from(pts)))
    return pts, sorted(starts), changed


def walked(pts: list[int], starts: list[int], changed: set[int]) -> list[tuple[Step, int | None]]:
    walk = Walk(tuple(starts))
    steps: list[tuple[Step, int | None]] = []
    for moment in pts:
        steps += [(step, moment) for step in walk.take(moment, changed=moment in changed)]
    return steps + [(step, None) for step in walk.finish()]


@given(streams())
def test_a_group_is_copied_if_and_only_if_nothing_in_it_changed(
    stream: tuple[list[int], list[int], set[int]],
) -> None:
    pts, starts, changed = stream
    ends = [*starts[1:], pts[-1] + 1]
    steps = walked(pts, starts, changed)
    copied = [gop for (kind, gop), _ in steps if kind == "copy"]
    assert copied == [
        gop
        for gop, (first, end) in enumerate(zip(starts, ends, strict=True))
        if not any(first <= moment < end for moment in changed)
    ]


@given(streams())
def test_every_frame_is_written_once_and_in_order(
    stream: tuple[list[int], list[int], set[int]],
) -> None:
    pts, starts, changed = stream
    ends = [*starts[1:], pts[-1] + 1]
    written: list[int] = []
    for (kind, gop), moment in walked(pts, starts, changed):
        inside = [p for p in pts if starts[gop] <= p < ends[gop]]
        if kind == "copy":
            written += inside
        elif kind == "change":
            assert moment in changed
            written += [p for p in inside if moment is not None and p < moment]
        else:
            assert moment is not None
            written.append(moment)
    assert written == pts


def clip_of(path: Path, options: str, **more: object) -> Path:
    common = ("preset", "ultrafast"), ("bf", "2"), ("g", "10"), ("x264-params", options)
    return Clip(frames=40, draw=scene, options=common, **more).write(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".mkv", ".ts"])
def test_the_groups_of_a_stream(extension: str, tmp_path: Path) -> None:
    path = clip_of(tmp_path / f"clip{extension}", "scenecut=0")
    found = survey(probe(path, LIMITS), LIMITS)
    assert found.packets == (10, 10, 10, 10)
    assert len({after - before for before, after in pairwise(found.starts)}) == 1
    assert found.reorder == 1
    assert (found.unit_length is None) == (extension == ".ts")


def test_open_groups_count_to_the_one_before(tmp_path: Path) -> None:
    path = clip_of(tmp_path / "clip.mp4", "scenecut=0:open-gop=1")
    assert survey(probe(path, LIMITS), LIMITS).packets == (40,)


def test_new_numbers_are_none_of_the_source_s(tmp_path: Path) -> None:
    path = clip_of(tmp_path / "clip.mp4", "sps-id=31")
    numbers = survey(probe(path, LIMITS), LIMITS).numbers
    assert numbers.sps == numbers.pps == 30


def test_pictures_that_an_edit_list_leaves_out_are_not_copied(tmp_path: Path) -> None:
    path = clip_of(tmp_path / "clip.mp4", "scenecut=0")
    data = path.read_bytes()
    at = data.index(b"elst") + 8 + 4 + 4  # past version, count and duration: the media time
    path.write_bytes(data[:at] + (5 * 512 + 1024).to_bytes(4) + data[at + 4 :])
    with pytest.raises(Unfit, match="edit list"):
        survey(probe(path, LIMITS), LIMITS)


def test_fragments_have_groups_as_well(tmp_path: Path) -> None:
    path = clip_of(tmp_path / "clip.mp4", "scenecut=0")
    flags = "frag_keyframe+empty_moov"
    fragmented = remuxed(path, tmp_path / "fragments.mp4", flags)
    assert survey(probe(fragmented, LIMITS), LIMITS).packets == (10, 10, 10, 10)


def test_pictures_shown_before_their_key_frame_join_the_group_before(tmp_path: Path) -> None:
    common = ("preset", "ultrafast"), ("bf", "0"), ("g", "10"), ("x264-params", "scenecut=0")
    source = Clip(frames=40, draw=scene, options=common).write(tmp_path / "clip.mp4")
    leading = tmp_path / "leading.mp4"
    with av.open(str(source)) as before, av.open(str(leading), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for number, packet in enumerate(p for p in before.demux(video=0) if p.size):
            packet.stream, packet.time_base = stream, Fraction(1, 50)
            packet.pts = 19 if number == 11 else 2 * number  # that is before the key frame's 20
            packet.dts = 2 * number - 10
            after.mux(packet)
    assert survey(probe(leading, LIMITS), LIMITS).packets == (20, 10, 10)
