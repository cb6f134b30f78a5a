"""Make shards of samples for the restorer: what a codec leaves of a marked picture, and the truth.

    python training/see_through.py --cache CACHE --output SHARDS --first 0 --count 60

A sample is a tile of a scene that moves under an overlay. Shard k is `k.npy`, uint8 (n, BYTES): the
planes of FIELDS one after the other, each a luma tile (96, 128), most followed by their chroma (2,
48, 64). It depends on k, the seed and the inputs alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import cv2
import numpy as np
from generate import Cache, Pixels, backdrop, bleach
from marks import Floats
from numpy.typing import NDArray
from options import shard_parser
from overlays import Overlay, overlays

from sorawm_pipeline.learn.clips import coded

HEIGHT, WIDTH = 96, 128
ROWS, COLUMNS = 8, 6  # tiles that share a picture on their way through the codec
ROOM = 24  # pixels that a scene may travel either way
SOURCE = 176
FRAMES = 5
NEAR, RUN = 12, 33  # frames either way that belong to the longer mean, and to the run
LUMA, CHROMA = HEIGHT * WIDTH, HEIGHT * WIDTH // 2
FIELDS = ("marked", "clean", "short", "long", "tone", "alpha", "earlier")
GREY = ("alpha", "earlier")  # fields without chroma
BYTES = 5 * (LUMA + CHROMA) + 2 * LUMA
"""`marked`: the frame at hand, decoded. `clean`: the truth. `short`: mean of a few decoded frames
around it. `long`: mean of its run. `tone`: colour of the overlay where there is one. `alpha`: its
opacity, 255 opaque. `earlier`: that at another time of the run, to which an icon has turned."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a scene is, as a function of the time in frames."""

    speed: Floats
    sway: Floats
    pace: Floats
    phase: Floats
    zoom: float
    centre: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Motion:
        still = rng.random() < 0.2
        angle = rng.uniform(0, 2 * np.pi)
        speed = 0.0 if still or rng.random() < 0.3 else np.exp(rng.uniform(np.log(0.05), np.log(5)))
        sway = 0.0 if still or rng.random() < 0.4 else np.exp(rng.uniform(np.log(0.1), np.log(5)))
        return cls(
            np.array([np.cos(angle), np.sin(angle)], np.float32) * np.float32(speed),
            (rng.normal(0, 1, 2) * sway).astype(np.float32),
            rng.uniform(0.02, 0.5, 2).astype(np.float32),
            rng.uniform(0, 2 * np.pi, 2).astype(np.float32),
            0.0 if still or rng.random() < 0.6 else float(rng.normal(0, 0.004)),
            rng.uniform(-8, 8, 2).astype(np.float32),
        )

    def view(self, source: Floats, time: float) -> Floats:
        """The tile (HEIGHT, WIDTH, 3) of a source (SOURCE, SOURCE, 3) at a time."""
        at = self.centre + self.speed * np.float32(time)
        at = at + self.sway * np.sin(self.pace * np.float32(time) + self.phase)
        span = 2 * ROOM
        at = np.abs((at + ROOM) % (2 * span) - span) - ROOM  # there and back again
        zoom = 1 + self.zoom * time
        matrix = np.float32(
            [
                [zoom, 0, (SOURCE - zoom * WIDTH) / 2 + at[0]],
                [0, zoom, (SOURCE - zoom * HEIGHT) / 2 + at[1]],
            ]
        )
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(
                source, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT
            ).clip(0, 255),
            np.float32,
        )


@dataclass(frozen=True, slots=True)
class Tile:
    frames: list[Pixels]
    clean: list[Pixels]
    long: Floats
    overlays: list[Overlay]
    earlier: Floats


def tile(rng: np.random.Generator, cache: Cache) -> Tile:
    """A scene under an overlay: RGB (HEIGHT, WIDTH, 3) at FRAMES consecutive times."""
    source = backdrop(rng, cache, SOURCE)
    if rng.random() < 0.06:
        bleach(rng, source)
    motion = Motion.drawn(rng)
    now = rng.uniform(-RUN, RUN)
    spin = rng.uniform(-0.02, 0.02)
    times = [now + number - FRAMES // 2 for number in range(FRAMES)]
    around = [now, *(now + rng.uniform(-NEAR, NEAR, 2))]
    earlier = rng.uniform(-RUN, RUN)
    sheets = overlays(rng, HEIGHT, WIDTH, [*times, *around[1:], earlier], spin)
    noise = rng.uniform(0, 4) if rng.random() < 0.5 else 0.0
    frames, clean = [], []
    for time, sheet in zip(times, sheets, strict=False):
        scene = motion.view(source, time)
        if noise:
            scene = scene + rng.normal(0, noise, (HEIGHT, WIDTH, 1)).astype(np.float32)
        clean.append(np.clip(np.rint(scene), 0, 255).astype(np.uint8))
        frames.append(np.clip(np.rint(sheet.over(scene)), 0, 255).astype(np.uint8))
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for sheet, time in zip((sheets[FRAMES // 2], *sheets[FRAMES:]), around, strict=False):
        scenes = [motion.view(source, time + rng.uniform(-4, 4)) for _ in range(3)]
        total += sheet.over(np.mean(scenes, 0, np.float32))
    long = total / np.float32(len(around))
    return Tile(frames, clean, long, sheets[:FRAMES], sheets[-1].alpha)


def decoded(pictures: list[Pixels], rng: np.random.Generator) -> list[Pixels]:
    """RGB pictures through x264 or x265: planes (h * 3 / 2, w) of yuv420p."""
    codec = "hevc" if rng.random() < 0.25 else "h264"
    preset = str(rng.choice(["superfast", "veryfast", "fast", "medium"]))
    options = {"crf": str(int(rng.integers(14, 31))), "preset": preset}
    return [np.asarray(frame.to_ndarray(), np.uint8) for frame in coded(pictures, codec, options)]


def planes(picture: Pixels) -> Pixels:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return np.asarray(frame.reformat(format="yuv420p").to_ndarray(), np.uint8)


def mosaic(pictures: list[Pixels]) -> Pixels:
    """Tiles (h, w, 3) side by side, row after row."""
    rows = [np.concatenate(pictures[n : n + COLUMNS], 1) for n in range(0, len(pictures), COLUMNS)]
    return np.concatenate(rows)


def tiles(sheet: Pixels) -> Pixels:
    """Planes of a mosaic (h * 3 / 2, w) as flat tiles (n, LUMA + CHROMA)."""
    high, wide = ROWS * HEIGHT, COLUMNS * WIDTH
    luma, chroma = sheet[:high], sheet[high:].reshape(2, high // 2, wide // 2)
    luma = luma.reshape(ROWS, HEIGHT, COLUMNS, WIDTH).transpose(0, 2, 1, 3)
    chroma = chroma.reshape(2, ROWS, HEIGHT // 2, COLUMNS, WIDTH // 2).transpose(1, 3, 0, 2, 4)
    return np.concatenate([luma.reshape(-1, LUMA), chroma.reshape(-1, CHROMA)], 1)


def samples(rng: np.random.Generator, cache: Cache) -> NDArray[np.uint8]:
    """As many samples as a mosaic has tiles, (n, BYTES)."""
    drawn = [tile(rng, cache) for _ in range(ROWS * COLUMNS)]
    shown = decoded([mosaic([t.frames[n] for t in drawn]) for n in range(FRAMES)], rng)
    here = int(rng.integers(FRAMES))
    span = int(rng.integers(FRAMES)) if rng.random() < 0.8 else 0
    near = shown[max(0, here - span) : here + span + 1]
    short = np.rint(np.mean(near, 0)).astype(np.uint8)
    long = tiles(planes(mosaic([np.rint(t.long).clip(0, 255).astype(np.uint8) for t in drawn])))
    brief = rng.random(len(drawn)) < 0.35  # the run has only just begun
    long[brief] = tiles(short)[brief]
    shown_now = [t.overlays[here] for t in drawn]
    tone = [o.cast / np.maximum(o.alpha, 1e-3)[..., None] for o in shown_now]
    fields = [
        tiles(shown[here]),
        tiles(planes(mosaic([t.clean[here] for t in drawn]))),
        tiles(short),
        long,
        tiles(planes(mosaic([np.rint(t).clip(0, 255).astype(np.uint8) for t in tone]))),
        *(
            np.stack([np.rint(alpha * 255).astype(np.uint8).ravel() for alpha in alphas])
            for alphas in ([o.alpha for o in shown_now], [t.earlier for t in drawn])
        ),
    ]
    return np.concatenate(fields, 1)


def main() -> None:
    parser = shard_parser(__doc__, count=60, seed=40)
    parser.add_argument("--split", choices=("train", "held-out"), default="train")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    cache = Cache.open(arguments.cache, arguments.split)
    for shard in range(arguments.first, arguments.first + arguments.count):
        rng = np.random.default_rng([arguments.seed, shard])
        made = np.concatenate([samples(rng, cache) for _ in range(10)])
        partial = arguments.output / f"{shard}.partial"
        with partial.open("wb") as file:
            np.save(file, made)
        partial.rename(arguments.output / f"{shard}.npy")
        print(f"shard {shard}: {len(made)} samples", flush=True)


if __name__ == "__main__":
    main()
