"""Teach two made-up marks with `train`'s own code, then find them in clips not trained on.

    python bench/own_mark.py --clips CLIP... --scratch FOLDER [--minutes 8] [--output JSON]

The marks: `badge`, an opaque word on a plate beside a disc, and `leaf`, a translucent icon. Each is
composited over every clip at three sizes, changes its place every 20 frames, and is encoded with
x264 at CRF 23. The clean clips are encoded alike. Every third frame is looked at, alone, without
tracks. Weights that are in the scratch folder already are not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sorawm_pipeline.learn.clips import spread
from sorawm_pipeline.learn.console import Bar
from sorawm_pipeline.learn.lesson import learn
from sorawm_pipeline.learn.mark import Mark, extent, read_mark
from sorawm_pipeline.learn.measure import Seen, score
from sorawm_pipeline.learn.samples import Box, paste
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import find_weights

Pixels = NDArray[np.uint8]

FRAMES = 60
EVERY = 3
STAY = 20
LONG_SIDE = 1280
SHARES = (0.05, 0.09, 0.15)  # width of the mark, or height of a tall one, of the long side
OPACITY = {"badge": 1.0, "leaf": 0.6}


def draw_badge(path: Path) -> None:
    """An opaque plate with a disc and a word."""
    image = Image.new("RGBA", (480, 140))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((2, 2, 477, 137), 30, fill=(24, 62, 140, 255))
    pen.ellipse((22, 22, 118, 118), fill=(250, 190, 40, 255))
    pen.polygon([(56, 45), (56, 95), (96, 70)], fill=(24, 62, 140, 255))
    font = ImageFont.load_default(84)
    pen.text((140, 66), "NORDEN", fill=(255, 255, 255, 255), font=font, anchor="lm")
    image.save(path)


def draw_leaf(path: Path) -> None:
    """Two white leaves in a ring."""
    image = Image.new("RGBA", (240, 240))
    pen = ImageDraw.Draw(image)
    pen.ellipse((6, 6, 233, 233), outline=(255, 255, 255, 255), width=14)
    for side in (-1, 1):
        tip, root = (120 + side * 70, 62), (120, 190)
        pen.polygon(
            [root, (120 + side * 12, 100), tip, (120 + side * 76, 130)], fill=(255, 255, 255, 255)
        )
    image.save(path)


def load(clip: Path) -> list[Pixels]:
    """Frames spread over a clip, as displayed, even-sided, at most LONG_SIDE long."""
    frames = spread(clip, FRAMES)
    height, width = frames[0].shape[:2]
    factor = LONG_SIDE / max(height, width)
    size = round(width * factor) // 2 * 2, round(height * factor) // 2 * 2
    return [np.asarray(cv2.resize(f, size, interpolation=cv2.INTER_AREA), np.uint8) for f in frames]


def marked(
    frames: list[Pixels], mark: Mark, share: float, opacity: float, rng: np.random.Generator
) -> tuple[list[Pixels], list[list[Box]]]:
    """Composite the mark; where it would not stand out at all, it is left away."""
    small = mark.scaled(share * LONG_SIDE / max(mark.alpha.shape))
    high, wide = small.alpha.shape
    x0, y0, x1, y1 = extent(small.alpha)
    out: list[Pixels] = []
    boxes: list[list[Box]] = []
    x = y = 0
    for number, frame in enumerate(frames):
        if number % STAY == 0:
            x, y = (
                int(rng.integers(side - s))
                for side, s in zip(frame.shape[1::-1], (wide, high), strict=True)
            )
        picture = frame.astype(np.float32)
        shown = paste(picture, small, x, y, opacity)
        out.append(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
        boxes.append([(x + x0, y + y0, x + x1, y + y1)] if shown else [])
    return out, boxes


def encoded(frames: list[Pixels]) -> list[Pixels]:
    """x264, CRF 23, preset medium, and back."""
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 30)
    encoder.options = {"crf": "23", "preset": "medium"}
    decoder = av.VideoCodecContext.create("h264", "r")
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    decoded = [f for packet in packets for f in decoder.decode(packet)] + decoder.decode(None)
    return [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in decoded]


def look(detector: Detector, frames: list[Pixels], boxes: list[list[Box]]) -> list[Seen]:
    """Detect in every third frame; truth is turned into the network's pixels."""
    seen = []
    for frame, truth in list(zip(frames, boxes, strict=True))[::EVERY]:
        height, width = frame.shape[:2]
        size = detector.input_size(width, height)
        image = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        across, down = size[0] / width, size[1] / height
        moved = [(b[0] * across, b[1] * down, b[2] * across, b[3] * down) for b in truth]
        seen.append(Seen(moved, detector.detect(image[None])[0]))
    return seen


def picture(path: Path, frame: Pixels, one: Seen, size: tuple[int, int]) -> None:
    """A frame with the truth in green and what was found in red."""
    image = Image.fromarray(frame).resize(size)
    pen = ImageDraw.Draw(image)
    for box in one.marks:
        pen.rectangle(box, outline=(0, 255, 0))
    for found in one.found:
        pen.rectangle(found.box, outline=(255, 0, 0))
        pen.text(found.box[:2], f"{found.confidence:.2f}", fill=(255, 0, 0), anchor="lb")
    image.save(path)


def measure(
    name: str, png: Path, weights: Path, clips: list[Path], scratch: Path
) -> dict[str, Any]:
    mark, found = read_mark(png), find_weights(weights)
    detector = Detector(found)
    rng = np.random.default_rng(5)
    per_size: dict[float, list[Seen]] = {share: [] for share in SHARES}
    clean: list[Seen] = []
    per_clip: dict[str, Any] = {}
    for clip in clips:
        frames = load(clip)
        size = detector.input_size(frames[0].shape[1], frames[0].shape[0])
        here = look(detector, encoded(frames), [[] for _ in frames])
        clean += here
        for share in SHARES:
            composite, boxes = marked(frames, mark, share, OPACITY[name], rng)
            composite = encoded(composite)
            seen = look(detector, composite, boxes)
            per_size[share] += seen
            here += seen
            picture(scratch / f"{name}-{clip.stem}-{share}.png", composite[30], seen[10], size)
        per_clip[clip.name] = asdict(score(here, found.confidence))
    detector.close()
    every = [one for seen in per_size.values() for one in seen] + clean
    return {
        "all": asdict(score(every, found.confidence)),
        "by_share_of_long_side": {
            str(share): asdict(score(seen, found.confidence)) for share, seen in per_size.items()
        },
        "by_clip": per_clip,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path, nargs="*", default=[])
    parser.add_argument("--marks", nargs="+", choices=sorted(OPACITY), default=sorted(OPACITY))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name in arguments.marks:
        png, weights = (arguments.scratch / f"{name}{end}" for end in (".png", ".onnx"))
        (draw_badge if name == "badge" else draw_leaf)(png)
        if not weights.exists():
            bar = Bar()
            learn(
                png,
                weights,
                own=arguments.backgrounds,
                minutes=arguments.minutes,
                seed=arguments.seed,
                say=bar.say,
                progress=bar,
            )
        card = json.loads(weights.with_suffix(".json").read_text())
        results[name] = {
            "opacity": OPACITY[name],
            "training_seconds": card["recipe"]["seconds"],
            "own_backgrounds": card["recipe"]["own_backgrounds"],
            "validation": card["measured"],
            "clips": measure(name, png, weights, arguments.clips, arguments.scratch),
        }
        print(json.dumps({name: results[name]["clips"]["all"]}), file=sys.stderr)
    text = json.dumps(results, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
