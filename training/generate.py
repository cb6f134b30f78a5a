"""Make shards of training crops at the scale the detector sees (a whole frame 640 px long).

    python training/generate.py --cache CACHE --output SHARDS --first 0 --count 16

Shard k depends on k, the seed and the inputs alone. It is two files: `k.images.npy` uint8
(n, 288, 288, 3) RGB and `k.boxes.npy` float32 (n, 4, 4), x0 y0 x1 y1 in pixels, half-open, unused
rows -1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from clutter import clutter, colour, heading, page, soft, word
from marks import Box, Floats, Matte, mark, paste, scaled
from numpy.typing import NDArray
from options import shard_parser

from sorawm_pipeline.learn.clips import through_codec

CROP = 288
PER_SHARD = 1000
MOST_MARKS = 4
BARELY = 5.0  # a mark's box that changes less than this in the mean, of 255, hardly shows
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cache:
    """Background pictures in one memory-mapped file."""

    pixels: NDArray[np.uint8]
    entries: list[tuple[int, tuple[int, int, int]]]
    weights: NDArray[np.float64]
    files: list[str]

    @classmethod
    def open(cls, folder: Path, split: str = "train") -> Cache:
        index = json.loads((folder / "index.json").read_text())[split]
        pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")
        areas = np.array([float(e["shape"][0] * e["shape"][1]) for e in index])
        entries = [(e["offset"], tuple(e["shape"])) for e in index]
        return cls(pixels, entries, areas / areas.sum(), [e["file"] for e in index])

    def picture(self, number: int) -> Pixels:
        offset, shape = self.entries[number]
        return self.pixels[offset : offset + int(np.prod(shape))].reshape(shape)


def handle(rng: np.random.Generator) -> str:
    return (
        "@"
        + word(rng).lower()
        + str(rng.choice(["", "_", ".", "7", "99", "x"]))
        + word(rng).lower()[:5]
    )


def smooth(rng: np.random.Generator, size: int) -> Floats:
    """A gradient, a soft cloudscape, a flat colour or a noisy texture (size, size, 3), 0..255."""
    cells = int(rng.choice([1, 2, 3, 6, 16, 48]))
    ground = rng.uniform(0, 255, 3) * np.ones((cells, cells, 3))
    ground += rng.normal(0, rng.uniform(0, 70), (cells, cells, 1)) + rng.normal(
        0, 15, (cells, cells, 3)
    )
    picture = cv2.resize(ground.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    picture += rng.normal(0, rng.uniform(0, 12), (size, size, 1)).astype(np.float32)
    return np.asarray(np.clip(picture, 0, 255), np.float32)


def backdrop(rng: np.random.Generator, cache: Cache, size: int, *, hard: bool = False) -> Floats:
    """A square region (size, size, 3) of what may lie under a mark."""
    plain = rng.random()
    if plain < 0.05:
        return smooth(rng, size)
    if plain < 0.2:
        return page(rng, size)
    if hard and plain < 0.45:
        return page(rng, size, paper=True)
    # By area: photographs are large, clip art is small and many.
    source = cache.picture(int(rng.choice(len(cache.entries), p=cache.weights)))
    height, width = source.shape[:2]
    side = int(min(height, width, max(96, size * rng.uniform(0.45, 1.5))))
    y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    region = source[y : y + side, x : x + side]
    how = cv2.INTER_AREA if side > size else int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    picture = cv2.resize(region, (size, size), interpolation=how).astype(np.float32)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if rng.random() < 0.3:
        picture = picture[..., rng.permutation(3)]
    if rng.random() < 0.06:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.06:
        picture = 255 - picture
    chance = rng.random()
    if chance > (0.75 if hard else 0.9):
        picture = picture * rng.uniform(0.1, 0.5) + rng.uniform(110, 200)
    elif chance < 0.1:  # overexposed
        picture = picture * rng.uniform(1.2, 3) + rng.uniform(0, 60)
    elif chance < 0.2:  # dark
        picture = picture * rng.uniform(0.15, 0.7)
    elif chance < 0.35:
        picture = (picture - 128) * rng.uniform(0.5, 1.3) + 128 + rng.uniform(-30, 30)
    if rng.random() < 0.12:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 4))
    return np.clip(np.ascontiguousarray(picture, np.float32), 0, 255)


def bleach(rng: np.random.Generator, picture: Floats, near: Box | None = None) -> None:
    """Make a part almost white, in place: a half, a spot or all, with a hard or a soft edge.

    Its edge or centre lies in the box `near`. Sometimes the rest goes dark, as round a screen.
    """
    size = picture.shape[0]
    left, top, right, bottom = near or (0.2 * size, 0.2 * size, 0.8 * size, 0.8 * size)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    y, x = y - rng.uniform(top, bottom), x - rng.uniform(left, right)
    turn, kind = rng.uniform(0, 2 * np.pi), rng.random()
    if kind < 0.55:
        turn = rng.choice([turn, 0, np.pi / 2, np.pi])
        inside = x * np.cos(turn) + y * np.sin(turn)
    elif kind < 0.82:
        inside = rng.uniform(0.1, 0.5) * size - np.hypot(x * rng.uniform(0.5, 1.5), y)
    else:
        inside = np.full_like(x, size)
    share = np.clip(inside / (size * 10 ** rng.uniform(-3, -0.3)) + 0.5, 0, 1)
    if rng.random() < 0.4:
        dark = rng.uniform(0, 0.3) if rng.random() < 0.5 else 0.02
        picture *= (share + (1 - share) * dark)[..., None].astype(np.float32)
    share *= rng.choice([1, 1, rng.uniform(0.7, 1)])
    level = 255 - np.exp(rng.uniform(np.log(2), np.log(50)))
    texture = (picture - 128) * rng.choice([0, rng.uniform(0, 0.15)])
    white = np.minimum(level + texture + rng.uniform(-4, 0, 3), 255)
    picture += (white - picture) * share[..., None]


def add_marks(
    rng: np.random.Generator, picture: Floats, scale: float, *, hard: bool = False
) -> list[Box]:
    """Paste one to three marks, in place; boxes in the picture's pixels."""
    size = picture.shape[0]
    boxes: list[Box] = []
    for _ in range(1 if rng.random() < 0.85 else int(rng.integers(2, MOST_MARKS))):
        name = handle(rng) if rng.random() < 0.12 else None
        said = "Sora" if rng.random() < 0.97 else word(rng)
        matte = mark(rng, said, name, 0.15 if hard else 0.08)
        whole = 2.95 * 100  # natural width of icon and word, so that an icon alone keeps its size
        if hard and rng.random() < 0.6:
            wide = rng.uniform(16, 60)
        elif rng.random() < 0.45:
            wide = np.exp(rng.uniform(np.log(16), np.log(190)))
        else:
            wide = rng.uniform(45, 150)
        if matte.alpha.shape[1] < 1.5 * matte.alpha.shape[0]:
            wide = max(wide, 32)  # an icon alone has no more than a few pixels below that
        matte = scaled(matte, scale * wide / whole)
        if rng.random() < 0.15:
            matte = soft(matte, rng.uniform(0.3, 0.9) * scale)
        h, w = matte.alpha.shape
        inset = 0 if rng.random() < 0.9 else -0.05
        if w >= size or h >= size:
            continue
        for _ in range(4):
            x = int(rng.uniform(inset * w, size - w * (1 + inset)))
            y = int(rng.uniform(inset * h, size - h * (1 + inset)))
            if any(
                x < b[2] + 4 and b[0] < x + w + 4 and y < b[3] + 4 and b[1] < y + h + 4
                for b in boxes
            ):
                continue
            if rng.random() < 0.1:  # drop shadow
                drop = soft(Matte(matte.alpha, np.zeros_like(matte.tone)), 1.5 * scale)
                at = x - int(2 * scale), y - int(2 * scale)
                paste(picture, drop, *at, rng.uniform(0.1, 0.4), colour(rng, white=True))
            opacity = rng.uniform(0.6, 0.9) if rng.random() < 0.6 else rng.uniform(0.4, 0.95)
            box = paste(picture, matte, x, y, opacity, colour(rng, white=True))
            if box:
                boxes.append(box)
                break
    return boxes


def changed(before: Floats, after: Floats, box: Box) -> float:
    """Mean difference in a box, 0..255."""
    at = np.s_[int(box[1]) : int(box[3]) + 1, int(box[0]) : int(box[2]) + 1]
    return float(np.abs(after[at] - before[at]).mean())


def sample(
    rng: np.random.Generator, cache: Cache, *, hard: bool = False
) -> tuple[Pixels, list[Box]]:
    """One crop (CROP, CROP, 3) uint8 RGB and the boxes in it."""
    # Native pixels per detector pixel: small clips to 1080p and beyond.
    scale = float(rng.choice([0.75, 1, 1.5, 2, 3], p=[0.15, 0.4, 0.2, 0.22, 0.03]))
    size = int(CROP * scale) // 2 * 2
    codec = rng.random()
    drift = int(rng.integers(0, 9)) if codec < 0.35 else 0
    canvas = backdrop(rng, cache, size + 2 * drift, hard=hard)
    bars = rng.random()
    if bars < 0.1:  # pillar box or letter box
        edge, ground = int(rng.uniform(0.1, 0.5) * size), rng.choice([0, 0, 16, 255])
        side = int(rng.integers(4))
        (canvas if side % 2 else canvas.transpose(1, 0, 2))[:edge] = ground
        if side > 1:
            canvas = np.ascontiguousarray(canvas[::-1, ::-1])
    positive = rng.random() < 0.68
    for _ in range(
        int(rng.choice([0, 1, 2], p=[0.6, 0.28, 0.12] if positive else [0.45, 0.3, 0.25]))
    ):
        clutter(rng, canvas, scale)
    view = canvas[drift : drift + size, drift : drift + size]
    pale = rng.random() < (0.4 if hard else 0.2)
    if positive and rng.random() < (0.22 if hard else 0.1):
        state = rng.bit_generator.state  # where the marks will lie
        across = add_marks(rng, view.copy(), scale, hard=hard)
        if across:
            heading(rng, view, across[0])
        rng.bit_generator.state = state
    elif pale and not (positive and rng.random() < 0.5):
        bleach(rng, canvas)
    elif pale:
        state = rng.bit_generator.state  # where the marks will lie
        there = add_marks(rng, view.copy(), scale, hard=hard)
        bleach(rng, view, there[0] if there else None)
        rng.bit_generator.state = state
    picture = view.copy()
    state, before = rng.bit_generator.state, picture.copy()
    boxes = add_marks(rng, picture, scale, hard=hard) if positive else []
    # What hardly shows would not outlast the worst compression, and teach to see what is not there.
    gentle = any(changed(before, picture, box) < BARELY for box in boxes)
    if rng.random() < 0.12 and not gentle:
        picture += rng.normal(0, rng.uniform(1, 9), picture.shape).astype(np.float32)
    shot = np.clip(picture, 0, 255).astype(np.uint8)
    if codec < 0.35:
        after = rng.bit_generator.state
        earlier = np.ascontiguousarray(canvas[:size, 2 * drift : 2 * drift + size])
        if positive:
            rng.bit_generator.state = state  # the same mark, over a scene that has moved
            add_marks(rng, earlier, scale, hard=hard)
            rng.bit_generator.state = after
        first = np.clip(earlier, 0, 255).astype(np.uint8)
        preset = str(rng.choice(["ultrafast", "veryfast", "veryfast", "medium"]))
        name = "h264" if rng.random() < 0.65 else "hevc"
        shot = through_codec(
            [first, shot], name, int(rng.integers(16, 27 if gentle else 35)), preset
        )
    elif codec < 0.85:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70 if gentle else 28, 96))]
        shot = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", shot, quality)[1], cv2.IMREAD_COLOR), np.uint8
        )
    if size != CROP:
        how = cv2.INTER_AREA if scale > 1 and rng.random() < 0.5 else cv2.INTER_LINEAR
        if scale < 1 and rng.random() < 0.5:
            how = cv2.INTER_CUBIC
        shot = np.asarray(cv2.resize(shot, (CROP, CROP), interpolation=how), np.uint8)
    ratio = CROP / size
    return shot, [(b[0] * ratio, b[1] * ratio, b[2] * ratio, b[3] * ratio) for b in boxes]


def main() -> None:
    parser = shard_parser(__doc__, count=16, seed=20)
    parser.add_argument("--hard", action="store_true", help="more small marks and pale backgrounds")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    cache = Cache.open(arguments.cache)
    for shard in range(arguments.first, arguments.first + arguments.count):
        rng = np.random.default_rng([arguments.seed, shard])
        images = np.zeros((PER_SHARD, CROP, CROP, 3), np.uint8)
        boxes = np.full((PER_SHARD, MOST_MARKS, 4), -1, np.float32)
        for number in range(PER_SHARD):
            images[number], found = sample(rng, cache, hard=arguments.hard)
            for row, box in enumerate(found):
                boxes[number, row] = box
        np.save(arguments.output / f"{shard}.boxes.npy", boxes)
        # The pictures appear last and whole: a trainer running beside us takes what is complete.
        partial = arguments.output / f"{shard}.partial.npy"
        np.save(partial, images)
        partial.rename(arguments.output / f"{shard}.images.npy")
        print(f"shard {shard}: {(boxes[:, 0, 0] >= 0).mean():.0%} with marks", flush=True)


if __name__ == "__main__":
    main()
