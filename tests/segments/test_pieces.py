"""A clip in pieces is the clip in one go: marks, times, pixels, packets of everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, clip_run, job
from sorawm_pipeline.errors import InputError, OutputError, PipelineError
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.target import PIECES_FOLDER
from sorawm_pipeline.report import ClipReport
from sorawm_pipeline.segments import plan, walk
from sorawm_pipeline.segments.pieces import FindTask, PieceWork
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.stages import decode
from tests.clips import HEIGHT, WIDTH, Clip, packets, pictures, times

pytestmark = pytest.mark.usefixtures("detectors")
MakeClip = Callable[[str, Clip], Path]

FRAMES, GROUP = 150, 10
LENGTH_S = 1.0


def jumping(index: int) -> np.ndarray:
    """A moving texture; a white mark that jumps every 34 frames and is away for one."""
    noise = np.random.default_rng(3).integers(20, 140, (HEIGHT // 4, WIDTH // 4, 3))
    scene = np.kron(noise, np.ones((4, 4, 1))).astype(np.uint8)
    picture = np.roll(scene, 2 * index, 1)
    if index % 35 != 34 and not 70 <= index < 90:
        x, y = ((8, 8), (60, 8), (30, 40))[index // 35 % 3]
        picture[y : y + 10, x : x + 22] = 255
    return picture


CLIP = Clip(
    frames=FRAMES,
    draw=jumping,
    options=(("crf", "10"), ("preset", "veryfast"), ("g", str(GROUP)), ("sc_threshold", "0")),
)


def config(length_s: float, **sections: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "inpaint": {"method": "membrane", "margin": 2},
            "temporal": {"window": 12},
            "pieces": {"from_s": 0, "length_s": length_s},
            **sections,
        }
    )


async def both(
    source: Path, folder: Path, suffix: str, **sections: dict[str, Any]
) -> tuple[ClipReport, ClipReport, Path, Path]:
    """Reports and results of one go and of pieces."""
    results = folder / f"one{suffix}", folder / f"pieces{suffix}"
    reports = [
        await Pipeline(config(length_s, **sections)).process(source, result)
        for length_s, result in zip((0, LENGTH_S), results, strict=True)
    ]
    return reports[0], reports[1], *results


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".sorawm-*"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
async def test_pieces_make_the_clip_that_one_go_makes(
    suffix: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("in.mp4", CLIP)
    lossless = {"codec": "ffv1"} if suffix == ".mkv" else {"codec": "h264", "quality": "crf:0"}
    one, row, whole, joined = await both(source, tmp_path, suffix, encode=lossless)
    assert row.pieces is not None
    assert (row.pieces.pieces, row.pieces.found, row.pieces.restored) == (5, 5, 5)
    assert row.marks == one.marks != ()
    assert row.frames.encoded == one.frames.encoded == FRAMES
    assert row.frames.marked == one.frames.marked
    assert row.detector == one.detector
    assert times(joined) == times(whole)
    for there, here in zip(pictures(whole), pictures(joined), strict=True):
        for one_plane, other_plane in zip(there, here, strict=True):
            assert np.array_equal(one_plane, other_plane)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("b.mp4", CLIP),
        ("b.mkv", CLIP),
        ("b.mov", CLIP),
        (
            "vfr.mkv",
            Clip(
                frames=FRAMES,
                draw=jumping,
                time_base=Fraction(1, 1000),
                pts=[40 * n + (7 * n) % 13 for n in range(FRAMES)],
                options=CLIP.options,
            ),
        ),
        ("ten.mp4", Clip(FRAMES, jumping, pix_fmt="yuv420p10le", options=CLIP.options)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_groups_are_copied_as_in_one_go(
    name: str, clip: Clip, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip(name, clip)
    one, row, whole, joined = await both(source, tmp_path, Path(name).suffix)
    assert row.encoder is not None
    assert one.encoder is not None
    assert row.encoder.splice == one.encoder.splice
    assert row.encoder.splice is not None
    assert 0 < row.encoder.splice.copied_gops < row.encoder.splice.gops
    assert times(joined) == times(whole) == times(source)
    decoded = [time for _, time, _ in packets(joined, "video") if time is not None]
    assert decoded == sorted(set(decoded))
    own = {data for *_, data in packets(source, "video")}
    copied = sum(data in own for *_, data in packets(joined, "video"))
    assert copied >= row.encoder.splice.copied_frames


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.webm", "libvpx-vp9", (("g", "10"), ("cpu-used", "8"), ("deadline", "realtime"))),
        ("h.mp4", "libx265", (("x265-params", "keyint=10:log-level=error:open-gop=0"),)),
        ("p.mov", "prores_ks", ()),
        ("a.mkv", "libsvtav1", (("g", "10"), ("preset", "12"))),
    ],
)
async def test_other_codecs_are_joined_too(
    name: str,
    codec: str,
    options: tuple[tuple[str, str], ...],
    make_clip: MakeClip,
    tmp_path: Path,
) -> None:
    pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    clip = Clip(FRAMES, jumping, codec=codec, pix_fmt=pix_fmt, options=options)
    source = make_clip(name, clip)
    one, row, whole, joined = await both(source, tmp_path, Path(name).suffix)
    assert row.pieces is not None
    assert row.pieces.reason is None
    assert row.pieces.pieces > 1
    assert row.marks == one.marks
    assert times(joined) == times(whole) == times(source)
    decoded = [time for _, time, _ in packets(joined, "video") if time is not None]
    assert decoded == sorted(set(decoded))


async def test_sound_lies_beside_the_picture(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("in.mp4", Clip(FRAMES, jumping, audio=True, options=CLIP.options))
    _, _, whole, joined = await both(source, tmp_path, ".mp4")
    assert packets(joined, "audio") == packets(whole, "audio") == packets(source, "audio")


async def test_a_clip_without_key_frames_in_reach_is_done_in_one_go(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    options = (*CLIP.options[:2], ("g", "1000"), ("sc_threshold", "0"))
    source = make_clip("in.mp4", Clip(FRAMES, jumping, options=options))
    report = await Pipeline(config(LENGTH_S)).process(source, tmp_path / "out.mp4")
    assert report.pieces is not None
    assert report.pieces.reason == "it has no key frames to be cut at"
    assert report.frames.encoded == FRAMES
    assert leftovers(tmp_path) == []


async def test_short_clips_are_done_in_one_go(make_clip: MakeClip, tmp_path: Path) -> None:
    wanted = config(LENGTH_S, pieces={"from_s": 7, "length_s": 1})
    report = await Pipeline(wanted).process(make_clip("in.mp4", CLIP), tmp_path / "out.mp4")
    assert report.pieces is None


async def test_a_stream_that_is_not_as_its_packets_say_is_done_in_one_go(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> Iterator[object]:
        raise Unfit("picture 7 is not found where its packets say")

    monkeypatch.setattr(decode, "_within", lost)
    source = make_clip("in.mp4", CLIP)
    report = await Pipeline(config(LENGTH_S)).process(source, tmp_path / "out.mp4")
    assert report.pieces is not None
    assert "picture 7" in str(report.pieces.reason)
    assert report.frames.encoded == FRAMES
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("die_at", [0, 1, 2, 5, 9])
async def test_what_was_done_before_a_death_is_not_done_again(
    die_at: int, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # x264 is not the same from run to run; FFV1 is, and so shows whether pictures are.
    wanted, other = config(LENGTH_S, encode={"codec": "ffv1"}), tmp_path / "other.mkv"
    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mkv"
    undisturbed = await Pipeline(wanted).process(source, other)
    put = Store.put
    puts: list[str] = []

    def dying(self: Store, name: str, what: object, packets: Path | None = None) -> None:
        if name.startswith(("find-", "piece-")):
            if len(puts) == die_at:
                raise OutputError("no space left", kind="no_space")
            puts.append(name)
        put(self, name, what, packets)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", dying)
        with pytest.raises(OutputError):
            await Pipeline(wanted).process(source, out)
    assert not out.exists()
    report = await Pipeline(wanted).process(source, out)
    assert report.pieces is not None
    assert report.pieces.reused == die_at
    assert report.pieces.found + report.pieces.restored == 10 - die_at
    assert report.marks == undisturbed.marks
    assert packets(out, "video") == packets(other, "video")
    assert leftovers(tmp_path) == []


async def begun(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **sections: Any) -> None:
    """All pieces are made, and then joining fails."""

    def full(*_: object) -> None:
        raise OutputError("no space left", kind="no_space")

    with monkeypatch.context() as patch:
        patch.setattr(walk, "join", full)
        with pytest.raises(OutputError):
            await Pipeline(config(LENGTH_S, **sections)).process(source, out)


@pytest.mark.parametrize(
    ("sections", "found", "restored"),
    [
        ({}, 0, 0),
        ({"encode": {"preset": "faster"}}, 0, 5),
        ({"inpaint": {"method": "telea", "margin": 2}}, 0, 5),
        ({"detect": {"stride": 8}}, 5, 0),
        ({"queues": {"capacity": 5}}, 5, 0),
    ],
    ids=["nothing", "encoding", "filling", "finding", "queues"],
)
async def test_a_change_invalidates_what_depends_on_it(
    sections: dict[str, Any],
    found: int,
    restored: int,
    make_clip: MakeClip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mp4"
    await begun(source, out, monkeypatch)
    report = await Pipeline(config(LENGTH_S, **sections)).process(source, out)
    assert report.pieces is not None
    assert report.pieces.found == found
    if "detect" not in sections:
        assert report.pieces.restored == restored
    assert report.frames.encoded == FRAMES
    assert leftovers(tmp_path) == []


async def test_a_source_that_changed_is_done_again_from_there(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def darker(index: int) -> np.ndarray:
        picture = jumping(index)
        return picture if index < 105 else np.where(picture > 200, picture, picture // 2)

    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mkv"
    await begun(source, out, monkeypatch, encode={"codec": "ffv1"})
    Clip(FRAMES, darker, options=CLIP.options).write(source)
    wanted = config(LENGTH_S, encode={"codec": "ffv1"})
    report = await Pipeline(wanted).process(source, out)
    assert report.pieces is not None
    assert 0 < report.pieces.reused < 8
    fresh = await Pipeline(wanted).process(source, tmp_path / "fresh.mkv")
    assert report.marks == fresh.marks
    assert packets(out, "video") == packets(tmp_path / "fresh.mkv", "video")


@pytest.mark.parametrize("kind", ["find-", "piece-"])
async def test_a_piece_that_was_damaged_is_made_again(
    kind: str, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mp4"
    await begun(source, out, monkeypatch)
    victim = min((tmp_path / PIECES_FOLDER).glob(f"*/{kind}*.npz"))
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    report = await Pipeline(config(LENGTH_S)).process(source, out)
    assert report.pieces is not None
    assert report.pieces.found + report.pieces.restored == 1
    assert report.frames.encoded == FRAMES


async def test_packets_that_were_damaged_are_noticed(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mp4"
    await begun(source, out, monkeypatch)
    victim = min((tmp_path / PIECES_FOLDER).glob("*/*.packets"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    report = await Pipeline(config(LENGTH_S)).process(source, out)
    assert report.pieces is not None
    assert "is not what was stored" in str(report.pieces.reason)
    assert report.frames.encoded == FRAMES
    assert leftovers(tmp_path) == []


async def test_one_result_is_made_by_one_process_at_a_time(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mp4"
    busy = pytest.raises(OutputError, match="another process is at work")
    with Store.beside(out).locked(), busy:
        await Pipeline(config(LENGTH_S)).process(source, out)


async def test_cancelling_keeps_what_is_done_and_leaves_no_thread(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mp4"
    reached, restore = asyncio.Event(), PieceWork._restore

    async def noticed(self: PieceWork, task: Any, *rest: Any) -> None:
        if task.piece.number == 2:
            reached.set()
        await restore(self, task, *rest)

    monkeypatch.setattr(PieceWork, "_restore", noticed)
    running = asyncio.create_task(Pipeline(config(LENGTH_S)).process(source, out))
    await asyncio.wait_for(reached.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not out.exists()
    kept = list((tmp_path / PIECES_FOLDER).glob("*/piece-*.npz"))
    assert len(kept) == 2
    report = await Pipeline(config(LENGTH_S)).process(source, out)
    assert report.pieces is not None
    assert report.pieces.reused >= 4


async def test_a_broken_piece_fails_the_clip_with_its_reason(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = PieceWork._find

    async def broken(self: PieceWork, task: FindTask, *rest: Any) -> None:
        if task.piece.number == 1:
            raise PipelineError("the detector is on fire", kind="device", stage="detect")
        await find(self, task, *rest)

    monkeypatch.setattr(PieceWork, "_find", broken)
    with pytest.raises(PipelineError, match="on fire"):
        await Pipeline(config(LENGTH_S)).process(make_clip("in.mp4", CLIP), tmp_path / "out.mp4")


async def test_long_runs_are_entered_with_no_visible_seam(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def standing(index: int) -> np.ndarray:
        noise = np.random.default_rng(3).integers(20, 140, (HEIGHT // 4, WIDTH // 4, 3))
        scene = np.kron(noise, np.ones((4, 4, 1))).astype(np.uint8)
        picture = np.roll(scene, 2 * index, 1)
        picture[8:18, 8:30] = 255
        return picture

    monkeypatch.setattr(plan, "LONG", 20)
    source = make_clip("in.mp4", Clip(FRAMES, standing, options=CLIP.options))
    one, row, whole, joined = await both(source, tmp_path, ".mkv", encode={"codec": "ffv1"})
    assert row.marks == one.marks
    assert row.frames.decoded < 3 * FRAMES
    for there, here in zip(pictures(whole), pictures(joined), strict=True):
        assert np.abs(there[0].astype(int) - here[0]).max() <= 2


async def test_verifying_repairs_the_pieces_that_need_it(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("in.mp4", CLIP)
    report = await Pipeline(config(LENGTH_S, verify=True)).process(source, tmp_path / "out.mp4")
    assert report.verification is not None
    assert report.verification.residual_marks == ()
    assert leftovers(tmp_path) == []


async def test_a_source_that_is_damaged_leaves_no_pieces(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = PieceWork._find

    async def damaged(self: PieceWork, task: FindTask, *rest: Any) -> None:
        if task.piece.number == 2:
            raise InputError("in.mp4 is damaged after frame 70")
        await find(self, task, *rest)

    monkeypatch.setattr(PieceWork, "_find", damaged)
    with pytest.raises(InputError):
        await Pipeline(config(LENGTH_S)).process(make_clip("in.mp4", CLIP), tmp_path / "out.mp4")
    assert leftovers(tmp_path) == []


async def test_progress_is_told_within_pieces(make_clip: MakeClip, tmp_path: Path) -> None:
    source, told = make_clip("in.mp4", CLIP), list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_run, "PROGRESS_INTERVAL_S", 0.0)
        await Pipeline(config(LENGTH_S)).process(
            source, tmp_path / "out.mp4", on_progress=lambda progress: told.append(progress.frames)
        )
    assert len({frames for frames in told if frames % 30}) > 5
    assert max(told) <= FRAMES


async def test_the_quality_that_was_chosen_stays(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make_clip("in.mp4", CLIP), tmp_path / "out.mp4"
    await begun(source, out, monkeypatch)
    monkeypatch.setattr(job, "matched_quality", lambda *_: 31.5)
    report = await Pipeline(config(LENGTH_S)).process(source, out)
    assert report.pieces is not None
    assert report.pieces.reused == 10
