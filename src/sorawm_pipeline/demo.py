"""A clip that the program makes for itself, cleans, and shows before and after."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.console import Reporter
from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.media.target import write_error
from sorawm_pipeline.pipeline import Pipeline
from sorawm_pipeline.plan import Planned
from sorawm_pipeline.report import Report, write_json

Image8 = NDArray[np.uint8]

WIDTH, HEIGHT, RATE, FRAMES = 640, 360, 30, 183
SHOWN, BLANK = 60, 1
"""Frames that the mark stays in one place, and that it is gone before the next."""
PLACES = ((24, 40), (520, 170), (24, 300))
MARK_WIDTH, MARK_HEIGHT, OPACITY = 92, 32, 0.75
SAMPLE_RATE, TONE_HZ = 48_000, 440
ORIGIN = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"
"""The demo's picture is computed, but by no trained model; its tag says so."""


def run(folder: Path, *, overwrite: bool) -> int:
    """Make, clean and show the demo clip in `folder`; returns the exit status.

    Raises:
        OutputError: the folder cannot be written, or holds an earlier demo and may not be changed.
    """
    clip, result = folder / "marked.mp4", folder / "cleaned.mp4"
    picture, report_file = folder / "before-after.png", folder / "report.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (clip, result, picture, report_file):
            if path.exists() and not overwrite:
                raise OutputError(f"{path} exists already; use --overwrite", kind="exists")
        make_clip(clip)
    except OSError as error:
        raise write_error(clip, error) from error
    with Reporter("auto") as reporter:
        reporter.started(Planned(clip, result), 1, 1)
        report = asyncio.run(
            Pipeline(PipelineConfig()).process(
                clip, result, overwrite=overwrite, on_progress=reporter.progressed
            )
        )
    write_json(report_file, Report(clips=(report,)))
    before_after(clip, result, picture, frame=SHOWN + SHOWN // 2)
    print(f"marks found in {report.frames.marked} of {report.frames.encoded} frames")
    print(f"{report.fps:.1f} frames per second; loading the model took {report.startup_s:.1f} s")
    for label, path in (
        ("before", clip),
        ("after", result),
        ("before and after", picture),
        ("report", report_file),
    ):
        print(f"{label}: {path}")
    return 0


def make_clip(path: Path, frames: int = FRAMES) -> None:
    """Write the marked clip: a moving scene, a mark that jumps, a tone."""
    icon = [draw_mark(turn) for turn in np.linspace(0, 2 * np.pi, 30, endpoint=False)]
    keep_tags = {"movflags": "use_metadata_tags"}
    with av.open(str(path), "w", container_options=keep_tags) as container:
        container.metadata["DIGITAL_SOURCE_TYPE"] = ORIGIN
        video = container.add_stream("libx264", rate=RATE, options={"crf": "18"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for index in range(frames):
            scene = draw_scene(index)
            place = place_of(index)
            if place is not None:
                blend(scene, icon[index % len(icon)], place)
            frame = av.VideoFrame.from_ndarray(scene, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
            container.mux(audio.encode(_tone(index)))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def place_of(index: int) -> Box | None:
    """Where the mark is on frame `index`, or None where it is gone."""
    turn, within = divmod(index, SHOWN + BLANK)
    if within >= SHOWN:
        return None
    x, y = PLACES[turn % len(PLACES)]
    return Box(x, y, x + MARK_WIDTH, y + MARK_HEIGHT)


def draw_scene(index: int) -> Image8:
    """A landscape that drifts past, as RGB (HEIGHT, WIDTH, 3)."""
    x, y = np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32)[:, None]
    drift = x + 1.5 * index
    hills = 210 + 30 * np.sin(drift / 90) + 14 * np.sin(drift / 31)
    sky = [90 + y * 0.3, 130 + y * 0.25, 190 - y * 0.1]
    meadow = [50 + 18 * np.sin(drift / 7), 105 + 22 * np.sin((drift + 2 * y) / 11), 40 + 0 * x]
    sun = np.clip(36 - np.hypot(x - 470 + 0.4 * index, y - 80), 0, 1)
    scene = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for channel, light in enumerate((250, 215, 120)):
        plane = np.where(y > hills, meadow[channel], sky[channel])
        scene[..., channel] = plane + sun * (light - plane)
    return scene


def draw_mark(turn: float) -> NDArray[np.float32]:
    """The mark turned by `turn` radians: luminance and alpha, (MARK_HEIGHT, MARK_WIDTH, 2)."""
    scale = 8
    size = MARK_WIDTH * scale, MARK_HEIGHT * scale
    shape, light = Image.new("L", size), Image.new("L", size, 255)
    pen, eyes = ImageDraw.Draw(shape), ImageDraw.Draw(light)
    centre, radius = MARK_HEIGHT * scale / 2, MARK_HEIGHT * scale / 2
    for lobe in range(6):
        angle = turn + lobe * np.pi / 3
        x, y = centre + 0.6 * radius * np.cos(angle), centre + 0.6 * radius * np.sin(angle)
        _disc(pen, x, y, 0.38 * radius)
    _disc(pen, centre, centre, 0.7 * radius)
    for side in (-1, 1):
        x = centre + side * 0.28 * radius
        eyes.ellipse(
            (x - 0.17 * radius, centre - 0.36 * radius, x + 0.17 * radius, centre + 0.14 * radius),
            fill=20,
        )
    font = ImageFont.load_default(size=0.72 * MARK_HEIGHT * scale)
    pen.text(
        (1.22 * MARK_HEIGHT * scale, centre),
        "Sora",
        fill=255,
        font=font,
        anchor="lm",
        stroke_width=scale // 2,
    )
    planes = [
        np.asarray(plane.resize((MARK_WIDTH, MARK_HEIGHT), Image.Resampling.BOX), np.float32)
        for plane in (light, shape)
    ]
    return np.stack([planes[0], planes[1] / 255 * OPACITY], axis=-1)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def blend(scene: Image8, mark: NDArray[np.float32], place: Box) -> None:
    """Composite the mark over the scene in place."""
    under = scene[place.y0 : place.y1, place.x0 : place.x1]
    light, alpha = mark[..., :1], mark[..., 1:]
    under[...] = np.rint(under * (1 - alpha) + light * alpha).astype(np.uint8)


def _tone(index: int) -> av.AudioFrame:
    """One video frame's worth of a sine tone."""
    count = SAMPLE_RATE // RATE
    time = (np.arange(count) + index * count) / SAMPLE_RATE
    wave = (0.2 * np.sin(2 * np.pi * TONE_HZ * time)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = (
        SAMPLE_RATE,
        index * count,
        Fraction(1, SAMPLE_RATE),
    )
    return frame


def before_after(before: Path, after: Path, picture: Path, frame: int) -> None:
    """Write one PNG: frame number `frame` of both clips side by side."""
    images = [_frame(clip, frame) for clip in (before, after)]
    gap = np.full((images[0].shape[0], 8, 3), 255, np.uint8)
    Image.fromarray(np.hstack([images[0], gap, images[1]])).save(picture)


def _frame(clip: Path, number: int) -> Image8:
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == number:
                return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    raise ValueError(f"{clip} has no frame {number}")
