"""What is not the mark comes out as it went in, and what is said of it is true."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.dom import minidom

import av
import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, warm
from sorawm_pipeline.errors import InputError, OutputError
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.provenance import read_provenance
from sorawm_pipeline.media.side_streams import SideStreams
from sorawm_pipeline.stages import decode
from tests.clips import MARK, Clip, rgb, scene, times
from tests.conftest import WhiteDetector

MakeClip = Callable[[str, Clip], Path]
pytestmark = pytest.mark.usefixtures("detectors")


def config(**sections: dict[str, object]) -> PipelineConfig:
    return PipelineConfig.model_validate({"inpaint": {"margin": 2}, **sections})


def rich_mkv(path: Path) -> Path:
    """Two sound tracks, subtitles, chapters, an attachment, languages, dispositions, titles."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "A day out"
        video = container.add_stream("libx264", rate=25, options={"bf": "2"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sounds = [container.add_stream("flac", rate=48_000, layout="mono") for _ in range(2)]
        for sound, language in zip(sounds, ("eng", "por"), strict=True):
            sound.metadata["language"] = language
        sounds[1].disposition = av.stream.Disposition.comment
        container.add_attachment("notes.txt", "text/plain", b"shot on a Sunday")
        container.set_chapters(
            [
                {
                    "id": n,
                    "start": n * 500,
                    "end": n * 500 + 500,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": f"Part {n}"},
                }
                for n in range(2)
            ]
        )
        for index in range(25):
            picture = scene(index)
            picture[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
            for number, sound in enumerate(sounds):
                noise = np.random.default_rng(100 * number + index).integers(-9000, 9000, (1, 1920))
                audio = av.AudioFrame.from_ndarray(noise.astype(np.int16), "s16", "mono")
                audio.sample_rate, audio.pts = 48_000, index * 1920
                container.mux(sound.encode(audio))
        container.mux(video.encode(None))
        for sound in sounds:
            container.mux(sound.encode(None))
    return path


def streams(path: Path) -> list[tuple[str, str | None, int, str | None]]:
    with av.open(str(path)) as container:
        return [
            (s.type, s.metadata.get("language"), int(s.disposition), s.metadata.get("title"))
            for s in container.streams
        ]


def payloads(path: Path) -> dict[int, list[tuple[int | None, bytes]]]:
    found: dict[int, list[tuple[int | None, bytes]]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.dts is not None and packet.stream.type != "video":
                found.setdefault(packet.stream_index, []).append((packet.pts, bytes(packet)))
    return found


async def test_everything_else_in_the_container_is_carried(tmp_path: Path) -> None:
    source, output = rich_mkv(tmp_path / "rich.mkv"), tmp_path / "out.mkv"
    report = await Pipeline(config()).process(source, output)
    assert report.encoder is not None
    assert report.encoder.left_out == ()
    assert streams(output) == streams(source)
    assert payloads(output) == payloads(source)
    assert len(payloads(output)) == 2
    with av.open(str(source)) as before, av.open(str(output)) as after:
        assert after.metadata["title"] == "A day out"
        assert [c["metadata"] for c in after.chapters()] == [
            {"title": "Part 0"},
            {"title": "Part 1"},
        ]
        assert [(c["start"], c["end"]) for c in after.chapters()] == [
            (c["start"], c["end"]) for c in before.chapters()
        ]
        assert [a.data for a in after.streams.attachments] == [b"shot on a Sunday"]


async def test_sound_and_picture_are_interleaved(make_clip: MakeClip, tmp_path: Path) -> None:
    source, output = make_clip("clip.mp4", Clip(frames=100, audio=True)), tmp_path / "out.mp4"
    await Pipeline(config()).process(source, output)
    with av.open(str(output)) as container:
        order = sorted(
            (packet.pos, packet.stream.type) for packet in container.demux() if packet.pos
        )
    kinds = [kind for _, kind in order]
    first_half = kinds[: len(kinds) // 2]
    assert 0.25 < first_half.count("audio") / len(first_half) < 0.75


async def test_side_streams_are_read_only_as_far_as_the_picture_has_got(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[float | None] = []
    plain = SideStreams.mux_until

    def noted(self: SideStreams, seconds: float | None) -> None:
        moments.append(seconds)
        plain(self, seconds)

    monkeypatch.setattr(SideStreams, "mux_until", noted)
    source = make_clip("clip.mp4", Clip(frames=100, audio=True))
    await Pipeline(config()).process(source, tmp_path / "out.mp4")
    *during, last = moments
    assert last is None
    assert during == sorted(during, key=lambda moment: moment or 0.0)
    assert len(set(during)) == 100


async def test_what_a_container_cannot_hold_is_left_out_and_reported(tmp_path: Path) -> None:
    source, output = rich_mkv(tmp_path / "rich.mkv"), tmp_path / "out.mp4"
    report = await Pipeline(config()).process(source, output)
    assert report.encoder is not None
    assert any("attachment" in line for line in report.encoder.left_out)
    kinds = [kind for kind, *_ in streams(output)]
    assert kinds == ["video", "audio", "audio", "data"], "MP4 keeps chapters as a data stream"


async def test_how_long_the_last_picture_is_shown(make_clip: MakeClip, tmp_path: Path) -> None:
    source = make_clip("slow.mp4", Clip(frames=5, rate=Fraction(1, 2)))
    output = tmp_path / "out.mp4"
    await Pipeline(config()).process(source, output)
    lengths = []
    for path in (source, output):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.duration is not None
            assert stream.time_base is not None
            lengths.append(stream.duration * stream.time_base)
    assert lengths[0] == lengths[1] == 10


async def test_rgb_pictures_keep_their_colours(make_clip: MakeClip, tmp_path: Path) -> None:
    def red(index: int) -> np.ndarray:
        return np.broadcast_to(np.array([192, 62, 31], np.uint8), (64, 96, 3)).copy()

    clip = Clip(frames=6, draw=red, codec="libx264rgb", pix_fmt="rgb24", options=(("crf", "0"),))
    source = make_clip("screen.mp4", clip)
    for name, codec in (("a.mp4", "source"), ("b.mp4", "hevc"), ("c.mkv", "av1")):
        output = tmp_path / name
        await Pipeline(config(encode={"codec": codec})).process(source, output)
        for picture in rgb(output):
            assert np.abs(picture.astype(int) - [192, 62, 31]).max() <= 6, name
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "gbrp", "RGB stays RGB"
        assert container.streams.video[0].codec_context.name == "h264", "and H.264 stays H.264"


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "suffix", "depth"),
    [("yuv420p10le", "libx265", ".mp4", 10), ("yuv444p", "libx264", ".mkv", 8)],
)
async def test_depth_and_chroma_are_never_lost_silently(
    pix_fmt: str, codec: str, suffix: str, depth: int, make_clip: MakeClip, tmp_path: Path
) -> None:
    options = (("x265-params", "log-level=error"),) if codec == "libx265" else (("crf", "10"),)
    source = make_clip(f"deep{suffix}", Clip(pix_fmt=pix_fmt, codec=codec, options=options))
    for target in (f"out{suffix}", "out.webm"):
        if target == "out.webm" and pix_fmt == "yuv444p":
            continue
        await Pipeline(config(encode={"preset": "ultrafast"})).process(source, tmp_path / target)
        with av.open(str(tmp_path / target)) as container:
            frame = next(container.decode(video=0))
            assert frame.format.name == pix_fmt
            assert frame.format.components[0].bits == depth


async def test_hevc_in_mp4_is_tagged_as_every_player_wants_it(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source, output = make_clip("clip.mp4", Clip()), tmp_path / "out.mp4"
    await Pipeline(config(encode={"codec": "hevc", "preset": "ultrafast"})).process(source, output)
    assert b"hvc1" in output.read_bytes()


async def test_a_transport_stream_has_its_statement_beside_it(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source, output = make_clip("clip.ts", Clip(frames=40)), tmp_path / "out.ts"
    report = await Pipeline(config()).process(source, output)
    beside = tmp_path / "out.ts.xmp"
    text = minidom.parseString(beside.read_bytes()).toxml()  # noqa: S318 - our own
    assert "removed where found; 40 frames changed" in text
    assert report.provenance is not None
    assert str(report.provenance.digital_source_type) in text
    assert report.provenance.basis == "visible mark"
    assert not report.provenance.signed
    before = beside.read_bytes()
    output.unlink()
    with pytest.raises(OutputError, match="nothing was replaced"):
        await Pipeline(config()).process(source, output)
    assert beside.read_bytes() == before
    assert not output.exists()


async def test_a_visible_mark_is_carried_on_as_a_statement(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    for frames, said in ((40, True), (20, False)):
        source = make_clip(f"{frames}.mp4", Clip(frames=frames))
        report = await Pipeline(config()).process(source, tmp_path / f"out{frames}.mp4")
        assert report.provenance is not None
        stated = report.provenance.digital_source_type
        assert (stated is not None) == said
        assert read_provenance(tmp_path / f"out{frames}.mp4").digital_source_type == stated


async def test_what_was_not_done_is_not_claimed(make_clip: MakeClip, tmp_path: Path) -> None:
    source, output = make_clip("clip.mkv", Clip(frames=40)), tmp_path / "out.mkv"
    report = await Pipeline(config(inpaint={"method": "none"})).process(source, output)
    with av.open(str(output)) as container:
        comment = {k.lower(): v for k, v in container.metadata.items()}["comment"]
    assert "none removed" in comment
    assert report.inpainter is not None
    assert report.inpainter.runtime == "none"


async def test_the_fill_of_a_still_scene_holds_still(make_clip: MakeClip, tmp_path: Path) -> None:
    grain = np.random.default_rng(1)

    def still(index: int) -> np.ndarray:
        picture = scene(0).astype(int)
        picture[:8] += grain.integers(-3, 4, (8, 96, 3))  # noise above the mark, where fills begin
        picture[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1] = 255
        return picture.clip(0, 255).astype(np.uint8)

    source = make_clip("still.mkv", Clip(frames=30, draw=still, codec="ffv1", pix_fmt="yuv444p"))
    flicker = {}
    for window in (0, 5):
        output = tmp_path / f"{window}.mkv"
        await Pipeline(config(temporal={"window": window})).process(source, output)
        fills = np.stack([p[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1] for p in rgb(output)]).astype(int)
        flicker[window] = np.abs(np.diff(fills[8:-8], axis=0)).mean()
    assert flicker[5] < 0.5 * flicker[0]


async def test_frames_that_live_at_once_stay_within_the_bound(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the objects themselves: nothing may keep one that the engine believes gone."""
    alive = peak = 0

    class Counted(Frame):
        def __init__(self, *args: Any, **named: Any) -> None:
            nonlocal alive, peak
            super().__init__(*args, **named)
            alive += 1
            peak = max(peak, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    monkeypatch.setattr(decode, "Frame", Counted)
    source = make_clip("clip.mp4", Clip(frames=200))
    pipeline = Pipeline(config(encode={"preset": "slow"}))
    report = await pipeline.process(source, tmp_path / "out.mp4")
    assert report.live_frames is not None
    inside_codecs = decode.DECODER_PICTURES + 96
    assert peak <= report.live_frames.bound - inside_codecs
    reading = pipeline.config.queues.capacity  # counted only when `read` has returned
    assert peak <= report.live_frames.peak + reading
    assert alive == 0


async def test_loading_is_measured_apart_from_cleaning(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]

    def load(_: PipelineConfig) -> tuple[WhiteDetector, float]:
        now[0] += 50
        return WhiteDetector(), 0.4

    monkeypatch.setattr(warm, "_load", load)
    monkeypatch.setattr("sorawm_pipeline.clip_run.time.perf_counter", lambda: now[0])
    real = WhiteDetector.detect

    def slow(self: WhiteDetector, images: np.ndarray) -> object:
        now[0] += 1
        return real(self, images)

    monkeypatch.setattr(WhiteDetector, "detect", slow)
    report = await Pipeline(config()).process(make_clip("a.mp4", Clip()), tmp_path / "out.mp4")
    assert report.startup_s == 50
    assert 1 <= report.wall_s <= 12
    assert time.perf_counter() == now[0]


async def test_frames_without_presentation_times_get_them_in_order(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source, output = make_clip("clip.avi", Clip(frames=20)), tmp_path / "out.mp4"
    await Pipeline(config()).process(source, output)
    shown = times(output)
    assert len(shown) == 20
    assert shown == sorted(set(shown))


async def test_an_avi_that_would_lose_its_sound_is_refused(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    source = make_clip("clip.mp4", Clip(audio=True))
    with pytest.raises(InputError, match="timing of copied aac"):
        await Pipeline(config()).process(source, tmp_path / "out.avi")
