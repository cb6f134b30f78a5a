"""The whole corridor on small clips, with a detector that finds what is white."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, Progress
from sorawm_pipeline.errors import (
    ConfigError,
    InputError,
    ModelError,
    OutputError,
    StageError,
)
from sorawm_pipeline.media.clip import as_fraction
from sorawm_pipeline.stages.inpaint import Inpaint
from sorawm_pipeline.vision import restore
from tests.clips import MARK, Clip, packets, pictures, remuxed, rgb, scene, times
from tests.conftest import WhiteDetector

MakeClip = Callable[[str, Clip], Path]
pytestmark = pytest.mark.usefixtures("detectors")

MARGIN = 2


def config(**sections: dict[str, object]) -> PipelineConfig:
    return PipelineConfig.model_validate({"inpaint": {"margin": MARGIN}, **sections})


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".sorawm-*")]


def owner_threads() -> list[str]:
    names = ("clip", "decode", "detect", "inpaint", "temporal", "encode", "collect")
    return [thread.name for thread in threading.enumerate() if thread.name in names]


async def test_a_marked_clip_comes_out_clean_with_everything_else_kept(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clip.mp4", Clip(frames=40, audio=True))
    output = tmp_path / "out" / "clip.mp4"
    report = await Pipeline(config()).process(source, output)

    assert report.status == "done"
    assert (report.frames.decoded, report.frames.encoded, report.frames.marked) == (40, 40, 40)
    assert times(output) == times(source)
    assert packets(output, "audio") == packets(source, "audio")
    for index, picture in enumerate(rgb(output)):
        inside = picture[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1]
        assert inside.max() < 190, "the white mark is gone"
        outside = np.abs(picture[36:].astype(int) - scene(index)[36:])
        assert outside.mean() < 6, "the rest is as it was"
    assert [(m.first_frame, m.last_frame, m.box) for m in report.marks] == [
        (0, 39, MARK.as_tuple())
    ]
    assert list(report.stages) == ["decode", "detect", "inpaint", "temporal", "encode"]
    assert all(stage.items == 40 for stage in report.stages.values())
    assert report.live_frames is not None
    assert report.live_frames.peak <= report.live_frames.bound
    assert report.wall_s > 0
    assert leftovers(tmp_path) == []
    assert owner_threads() == []


@pytest.mark.parametrize(
    "pix_fmt",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "gray", "gbrp10le", "bgr0"],
)
async def test_outside_the_patches_every_sample_is_bit_identical(
    pix_fmt: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clip.mkv", Clip(frames=8, codec="ffv1", pix_fmt=pix_fmt))
    output = tmp_path / "out.mkv"
    report = await Pipeline(config()).process(source, output)
    assert report.encoder is not None
    assert report.encoder.codec == "ffv1"

    reach = MARK.grown(MARGIN + restore.FEATHER + 2).clipped(96, 64)
    changed = 0
    for before, after in zip(samples(source), samples(output), strict=True):
        for old, new in zip(before, after, strict=True):
            step_y, step_x = 64 // old.shape[0], 96 // old.shape[1]
            outside = np.ones(old.shape, bool)
            outside[
                reach.y0 // step_y : -(-reach.y1 // step_y),
                reach.x0 // step_x : -(-reach.x1 // step_x),
            ] = False
            assert np.array_equal(old[outside], new[outside])
            changed += int((old != new).sum())
    assert changed > 0


def samples(path: Path) -> list[list[np.ndarray]]:
    """Every frame's planes, (h_p, w_p) or (h_p, w_p, bytes) without the padding of rows."""
    with av.open(str(path)) as container:
        return [
            [
                np.frombuffer(memoryview(plane), np.uint8)
                .reshape(plane.height, plane.line_size)[:, : plane.width * bytes_each]
                .reshape(plane.height, plane.width, bytes_each)
                .copy()
                for plane in frame.planes
                for bytes_each in [4 if frame.format.name == "bgr0" else 1 + (b"10" in name)]
            ]
            for frame in container.decode(video=0)
            for name in [frame.format.name.encode()]
        ]


async def test_presentation_times_of_variable_frame_rate_are_exact(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    ticks = [0, 1001, 1501, 4000, 4001, 9999, 10010, 12012, 13000, 13100, 20000, 20001]
    source = make_clip("vfr.mp4", Clip(pts=ticks, time_base=Fraction(1, 30000)))
    output = tmp_path / "out.mp4"
    await Pipeline(config()).process(source, output)
    assert times(output) == times(source)
    assert [time * 30000 for time in times(output)] == ticks


async def test_rotation_aspect_and_colour_are_kept_and_boxes_are_upright(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip(
        "phone.mp4",
        Clip(rotation=90, sample_aspect=Fraction(4, 3), colour=(9, 16, 9, 2)),
    )
    output = tmp_path / "out.mp4"
    report = await Pipeline(config()).process(source, output)
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        context = stream.codec_context
        assert frame.rotation == 90
        assert as_fraction(stream.sample_aspect_ratio) == Fraction(4, 3)
        assert (context.color_primaries, context.color_trc, context.colorspace) == (9, 16, 9)
        assert context.color_range == 2
    (mark,) = report.marks
    # Turned left, what was at the right (x from 48 of 96) is at the top; pixels are 4/3 wide.
    x0, y0, x1, y1 = mark.box
    assert (x0, x1) == (MARK.y0, MARK.y1)
    assert abs(y0 - (96 - MARK.x1) * 4 / 3) <= 1.5
    assert abs(y1 - (96 - MARK.x0) * 4 / 3) <= 1.5
    assert max(picture[8:24, 16:48].max() for picture in rgb(output)) < 190


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts"])
async def test_containers(suffix: str, make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip(f"clip{suffix}", Clip(options=(("crf", "4"), ("bf", "0"))))
    output = tmp_path / f"out{suffix}"
    report = await Pipeline(config()).process(source, output)
    assert report.frames.encoded == 12
    assert len(times(output)) == 12
    gaps = np.diff([float(time) for time in times(output)])
    assert np.allclose(gaps, np.diff([float(time) for time in times(source)]))


@pytest.mark.parametrize(
    ("codec", "suffix", "encoder"),
    [
        ("hevc", ".mp4", "libx265"),
        ("vp9", ".webm", "libvpx-vp9"),
        ("av1", ".mkv", "libsvtav1"),
        ("ffv1", ".mkv", "ffv1"),
    ],
)
async def test_codecs(
    codec: str, suffix: str, encoder: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clip.mp4", Clip())
    output = tmp_path / f"out{suffix}"
    pipeline = Pipeline(config(encode={"codec": codec, "preset": "ultrafast"}))
    report = await pipeline.process(source, output)
    assert report.encoder is not None
    assert report.encoder.codec == encoder
    assert len(rgb(output)) == 12


async def test_a_codec_that_the_container_cannot_hold(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip())
    with pytest.raises(ConfigError, match="cannot hold"):
        await Pipeline(config(encode={"codec": "ffv1"})).process(source, tmp_path / "o.webm")
    assert leftovers(tmp_path) == []


async def test_bitrate_and_crf_change_the_size(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip(frames=40))
    sizes = {}
    for quality in ("crf:10", "crf:40", "bitrate:20k"):
        output = tmp_path / f"{quality.replace(':', '-')}.mp4"
        await Pipeline(config(encode={"quality": quality})).process(source, output)
        sizes[quality] = packets_size(output)
    assert sizes["crf:10"] > 2 * sizes["crf:40"]
    assert sizes["crf:10"] > sizes["bitrate:20k"]


def packets_size(path: Path) -> int:
    return sum(len(data) for _, _, data in packets(path, "video"))


async def test_an_unmarked_clip_is_not_touched_by_patches(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clean.mkv", Clip(codec="ffv1", draw=scene))
    output = tmp_path / "out.mkv"
    report = await Pipeline(config()).process(source, output)
    assert report.frames.marked == 0
    assert report.marks == ()
    for before, after in zip(pictures(source), pictures(output), strict=True):
        assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))


async def test_method_none_reports_and_leaves_the_mark(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mkv", Clip(codec="ffv1"))
    output = tmp_path / "out.mkv"
    pipeline = Pipeline(config(inpaint={"method": "none"}))
    report = await pipeline.process(source, output)
    assert report.frames.marked == 12
    assert all(
        np.array_equal(old, new)
        for before, after in zip(pictures(source), pictures(output), strict=True)
        for old, new in zip(before, after, strict=True)
    )


async def test_detect_writes_boxes_and_nothing_else(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip(frames=20))
    found = await Pipeline(config()).detect(source)
    assert (found.width, found.height) == (96, 64)
    assert 3 <= found.frames_inferred <= 5
    assert [frame.index for frame in found.frames] == list(range(20))
    assert all(mark.box == MARK.as_tuple() for frame in found.frames for mark in frame.marks)
    assert sum(len(frame.marks) for frame in found.frames) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]


async def test_models_stay_warm_between_clips_and_are_closed(
    make_clip: MakeClip, tmp_path: Path, detectors: list[WhiteDetector]
) -> None:
    source = make_clip("clip.mp4", Clip())
    async with Pipeline(config()) as pipeline:
        first = await pipeline.process(source, tmp_path / "1.mp4")
        await pipeline.process(source, tmp_path / "2.mp4")
        assert len(detectors) == 1
        assert not detectors[0].closed
        await asyncio.gather(*(pipeline.process(source, tmp_path / f"{n}.mp4") for n in (3, 4, 5)))
        assert len(detectors) <= 3
    assert all(detector.closed for detector in detectors)
    assert owner_threads() == []
    assert first.detector is not None
    assert 2 <= first.detector.frames_inferred <= 4


async def test_without_a_context_each_call_loads_and_closes(
    make_clip: MakeClip, tmp_path: Path, detectors: list[WhiteDetector]
) -> None:
    source = make_clip("clip.mp4", Clip())
    pipeline = Pipeline(config())
    await pipeline.process(source, tmp_path / "1.mp4")
    await pipeline.process(source, tmp_path / "2.mp4")
    assert len(detectors) == 2
    assert all(detector.closed for detector in detectors)


async def test_events_tell_the_progress_and_end_with_the_report(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorawm_pipeline.clip_run.PROGRESS_INTERVAL_S", 0.0)
    source = make_clip("clip.mp4", Clip(frames=60))
    async with Pipeline(config()) as pipeline:
        events = [event async for event in pipeline.events(source, tmp_path / "out.mp4")]
    assert [event.frames for event in events] == sorted(event.frames for event in events)
    assert all(event.report is None for event in events[:-1])
    last = events[-1]
    assert last.report is not None
    assert last.report.status == "done"
    assert (last.frames, last.frames_expected, last.eta_s) == (60, 60, 0.0)
    assert all(event.fps > 0 and event.stage in last.report.stages for event in events)


async def test_leaving_the_events_early_cancels_the_clip(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorawm_pipeline.clip_run.PROGRESS_INTERVAL_S", 0.0)
    source = make_clip("clip.mp4", Clip(frames=100))
    async with Pipeline(config()) as pipeline:
        events = pipeline.events(source, tmp_path / "out.mp4")
        async for _ in events:
            break
        await events.aclose()
        assert not (tmp_path / "out.mp4").exists()
        assert leftovers(tmp_path) == []
        again = await pipeline.process(source, tmp_path / "again.mp4")
    assert again.status == "done"


async def test_events_raise_what_went_wrong(tmp_path: Path) -> None:
    async with Pipeline(config()) as pipeline:
        with pytest.raises(InputError, match="does not exist"):
            await anext(pipeline.events(tmp_path / "none.mp4", tmp_path / "out.mp4"))


async def test_events_need_an_open_pipeline(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await anext(Pipeline(config()).events(tmp_path / "none.mp4"))


@pytest.mark.parametrize("after_frames", [0, 1, 30])
async def test_cancelling_leaves_no_thread_and_no_file(
    after_frames: int, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorawm_pipeline.clip_run.PROGRESS_INTERVAL_S", 0.0)
    source = make_clip("clip.mp4", Clip(frames=100))
    reached = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.frames >= after_frames:
            reached.set()

    if not after_frames:
        reached.set()
    async with asyncio.timeout(30):
        task = asyncio.ensure_future(
            Pipeline(config()).process(source, tmp_path / "out.mp4", on_progress=watch)
        )
        await asyncio.sleep(0)
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert owner_threads() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]


async def test_a_stage_that_breaks_is_named_and_leaves_nothing(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Inpaint, batch: object) -> object:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(Inpaint, "process", broken)
    source = make_clip("clip.mp4", Clip(frames=30))
    with pytest.raises(StageError) as caught:
        await Pipeline(config()).process(source, tmp_path / "out.mp4")
    assert caught.value.stage == "inpaint"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]
    report = await Pipeline(config()).attempt(source, tmp_path / "out.mp4")
    assert report.status == "failed"
    assert report.error is not None
    assert (report.error.kind, report.error.stage) == ("internal", "inpaint")


@pytest.mark.parametrize(
    ("suffix", "flags"),
    [(".mp4", "faststart"), (".mp4", "frag_keyframe+empty_moov"), (".mkv", ""), (".avi", "")],
)
async def test_a_clip_cut_short_is_never_published(
    suffix: str, flags: str, make_clip: MakeClip, tmp_path: Path
) -> None:
    if suffix == ".avi":  # its muxer wants packets as its own encoder makes them
        whole = make_clip("whole.avi", Clip(frames=60, options=(("bf", "0"),)))
    else:
        whole = remuxed(make_clip("clip.mp4", Clip(frames=60)), tmp_path / f"w{suffix}", flags)
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.raises(InputError, match="cut short"):
        await Pipeline(config()).process(cut, tmp_path / "out" / cut.name)
    assert not (tmp_path / "out").exists()
    report = await Pipeline(config()).process(whole, tmp_path / "out" / whole.name)
    assert report.frames.encoded == 60


async def test_an_index_that_promises_too_much_is_noticed_at_the_end(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorawm_pipeline.media.clip.missing_bytes", lambda path: 0)
    whole = remuxed(make_clip("clip.mp4", Clip(frames=60)), tmp_path / "whole.mp4", "faststart")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    pipeline = Pipeline(config())
    with pytest.raises(InputError, match=r"cut short|damaged") as caught:
        await pipeline.process(cut, tmp_path / "out" / "cut.mp4")
    assert caught.value.stage == "decode"
    assert list((tmp_path / "out").iterdir()) == []
    report = await pipeline.attempt(cut, tmp_path / "out" / "cut.mp4")
    assert report.status == "failed"
    assert 0 < report.frames.decoded < 60
    assert report.stages["decode"].items == report.frames.decoded
    assert report.wall_s > 0


async def test_a_lost_packet_of_a_broadcast_loses_no_more_than_itself(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clip.ts", Clip(frames=100))
    data = bytearray(source.read_bytes())
    middle = len(data) // 2 // 188 * 188
    del data[middle : middle + 188]
    source.write_bytes(data)
    report = await Pipeline(config()).process(source, tmp_path / "out.ts")
    assert report.frames.encoded >= 99


async def test_recordings_that_were_joined_are_refused(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.ts", Clip(frames=60))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(source.read_bytes() * 2)
    with pytest.raises(InputError, match="jump back"):
        await Pipeline(config()).process(joined, tmp_path / "out.ts")


async def test_memory_runs_out_in_a_batch(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = WhiteDetector.detect

    def greedy(self: WhiteDetector, images: np.ndarray) -> object:
        if len(images) > 1:
            raise MemoryError("out of memory")
        return plain(self, images)

    monkeypatch.setattr(WhiteDetector, "detect", greedy)
    source = make_clip("clip.mp4", Clip(frames=20))
    report = await Pipeline(config()).process(source, tmp_path / "out.mp4")
    assert report.frames.marked == 20


async def test_no_look_takes_more_frames_than_the_batch_asked_for(
    make_clip: MakeClip,
    tmp_path: Path,
    detectors: list[WhiteDetector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = WhiteDetector.detect

    def doubtful(self: WhiteDetector, images: np.ndarray) -> object:
        """What is seen doubtfully is looked at in every frame, many at once."""
        return [[replace(mark, confidence=0.35) for mark in one] for one in plain(self, images)]

    monkeypatch.setattr(WhiteDetector, "detect", doubtful)
    source = make_clip("clip.mp4", Clip(frames=60))
    await Pipeline(config(detect={"batch": 2})).process(source, tmp_path / "out.mp4")
    assert max(detectors[0].calls) == 2


async def test_a_memory_budget_bounds_the_live_frames(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip(frames=60))
    wide = await Pipeline(config()).process(source, tmp_path / "wide.mp4")
    budget = 1_800_000
    keeping = config(memory={"budget": budget}, temporal={"window": 32})
    tight = await Pipeline(keeping).process(source, tmp_path / "tight.mp4")
    assert wide.live_frames is not None
    assert tight.live_frames is not None
    assert tight.live_frames.bound < wide.live_frames.bound
    assert tight.live_frames.bound * 96 * 64 * 3 // 2 <= budget < wide.live_frames.bound * 9216
    with pytest.raises(ConfigError, match=r"memory\.budget"):
        await Pipeline(config(memory={"budget": 50_000})).process(source, tmp_path / "no.mp4")


async def test_weights_that_are_not_there(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(config: PipelineConfig) -> object:
        raise ModelError("no weights at nowhere.onnx", kind="missing")

    monkeypatch.setattr("sorawm_pipeline.warm._load", missing)
    source = make_clip("clip.mp4", Clip())
    with pytest.raises(ModelError):
        await Pipeline(config()).process(source, tmp_path / "out.mp4")
    assert owner_threads() == []


async def test_the_output_is_checked_before_any_work(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("clip.mp4", Clip())
    (tmp_path / "old.mp4").write_bytes(b"old")
    pipeline = Pipeline(config())
    with pytest.raises(OutputError, match="input itself"):
        await pipeline.process(source, source, overwrite=True)
    with pytest.raises(OutputError, match="--overwrite"):
        await pipeline.process(source, tmp_path / "old.mp4")
    assert (tmp_path / "old.mp4").read_bytes() == b"old"
    await pipeline.process(source, tmp_path / "old.mp4", overwrite=True)
    assert len(rgb(tmp_path / "old.mp4")) == 12


async def test_one_bad_clip_among_several_at_once(make_clip: MakeClip, tmp_path: Path) -> None:
    good = make_clip("good.mp4", Clip())
    (tmp_path / "bad.mp4").write_text("no film")
    async with Pipeline(config()) as pipeline:
        reports = await asyncio.gather(
            pipeline.attempt(good, tmp_path / "a.mp4"),
            pipeline.attempt(tmp_path / "bad.mp4", tmp_path / "b.mp4"),
            pipeline.attempt(good, tmp_path / "c.mp4"),
        )
    assert [report.status for report in reports] == ["done", "failed", "done"]
