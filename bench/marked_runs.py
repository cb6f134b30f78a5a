"""What lies over the bench's scenes: the real mark, logos and time stamps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from drawn import Look, logo, time_stamp, yuv
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

VISIBLE = 0.02
"""Alpha from which a pixel is the mark's. What is fainter in the mark clip is its compression."""
BRIGHT = 24  # of 255, over black: what is the mark's for certain
RING = 32
"""Pixels around a mark's box that a run's region holds."""
JITTER = 2  # most pixels by which a side of a given box lies too far out


@dataclass(frozen=True)
class Run:
    """A mark that stays in one place for some frames.

    Attributes:
        first, last: its frames, half-open.
        box: exact extent of what is visible, over all of its frames.
        given: the box that the program is told, up to JITTER pixels larger on each side.
        region: `box` with a ring around it, corners even, cut by the frame.
        alpha: (n, h, w) of `region`, 0 to 255.
        colour: Y, U, V of what is laid over, (n, 3, h, w), or (1, 3, h, w) when it never changes.
    """

    first: int
    last: int
    box: Box
    given: Box
    region: Box
    alpha: Pixels
    colour: Pixels

    @property
    def count(self) -> int:
        return self.last - self.first

    @property
    def frames(self) -> slice:
        return slice(self.first, self.last)

    @property
    def chroma_region(self) -> Box:
        r = self.region
        return Box(r.x0 // 2, r.y0 // 2, r.x1 // 2, r.y1 // 2)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which pixels of `region` are the mark's, (n, h, w)."""
        return self.alpha > VISIBLE * 255

    def layer(self, plane: int, index: int) -> tuple[Floats, Floats]:
        """Alpha 0 to 1 and colour of one plane in the run's frame `index`."""
        alpha = self.alpha[index].astype(np.float32) / 255
        colour = self.colour[index % len(self.colour), plane].astype(np.float32)
        if plane == 0:
            return alpha, colour
        share = _quartered(alpha)
        weighted = _quartered(alpha * colour) / np.maximum(share, 1e-6)
        return share, np.where(share > 0, weighted, 128).astype(np.float32)

    def save(self, path: Path) -> None:
        where = [self.first, self.last]
        boxes = [b.as_tuple() for b in (self.box, self.given, self.region)]
        np.savez_compressed(path, frames=where, boxes=boxes, alpha=self.alpha, colour=self.colour)

    @classmethod
    def load(cls, path: Path) -> Run:
        with np.load(path) as stored:
            box, given, region = (Box(*(int(v) for v in row)) for row in stored["boxes"])
            first, last = (int(v) for v in stored["frames"])
            return cls(first, last, box, given, region, stored["alpha"], stored["colour"])


def tracks(look: Look, mark: Path, size: tuple[int, int], count: int, start: int) -> list[Run]:
    """The runs of `count` frames of `size`, from frame `start` of the mark clip."""
    rng = np.random.default_rng([count, *size])
    if look.kind == "sora":
        return [
            _run(first, alpha, _flat((255, 255, 255), alpha.shape[1:]), at, size, rng)
            for first, alpha, at in _moving(look, mark, size, count, start)
        ]
    if look.kind in ("opaque", "translucent"):
        alpha, rgb = logo(look, min(size))
        at = size[0] - alpha.shape[1] - min(size) // 16, min(size) // 16
        return [_run(0, np.repeat(alpha[None], count, 0), yuv(rgb)[None], at, size, rng)]
    stamps = [time_stamp(look, min(size), index + 11 * 60 * 30) for index in range(count)]
    alpha = np.stack([a for a, _ in stamps])
    at = min(size) // 20, size[1] - alpha.shape[1] - min(size) // 20
    return [_run(0, alpha, np.stack([yuv(rgb) for _, rgb in stamps]), at, size, rng)]


def _flat(rgb: tuple[int, int, int], shape: tuple[int, ...]) -> Pixels:
    return yuv(np.broadcast_to(np.array(rgb, np.uint8), (*shape, 3)))[None]


def _quartered(values: Floats) -> Floats:
    """Means of 2x2."""
    height, width = values.shape
    blocks = values.reshape(height // 2, 2, width // 2, 2)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _run(
    first: int,
    alpha: Pixels,
    colour: Pixels,
    at: tuple[int, int],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Run:
    """A run from a mark's own alpha (n, h, w) and colour (n, 3, h, w), `at` x, y of the frame."""
    alpha = np.where(alpha > VISIBLE * 255, alpha, 0).astype(np.uint8)
    whole = Box(at[0], at[1], at[0] + alpha.shape[2], at[1] + alpha.shape[1])
    inside = whole.clipped(*size)
    rows, columns = inside.within(whole)
    alpha, colour = alpha[:, rows, columns], colour[..., rows, columns]
    shown = np.asarray(alpha.any(axis=0))
    ys, xs = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    x0, y0 = inside.x0, inside.y0
    box = Box(x0 + int(xs[0]), y0 + int(ys[0]), x0 + int(xs[-1]) + 1, y0 + int(ys[-1]) + 1)
    out = [int(v) for v in rng.integers(0, JITTER + 1, 4)]
    given = Box(box.x0 - out[0], box.y0 - out[1], box.x1 + out[2], box.y1 + out[3]).clipped(*size)
    region = box.grown(RING).aligned(2, 2).clipped(*size)
    within = box.within(region), box.within(inside)
    spread = np.zeros((len(alpha), region.height, region.width), np.uint8)
    inked = np.full((len(colour), 3, region.height, region.width), 128, np.uint8)
    spread[:, *within[0]] = alpha[:, *within[1]]
    inked[..., *within[0]] = colour[..., *within[1]]
    return Run(first, first + len(alpha), box, given, region, spread, inked)


@lru_cache(maxsize=1)
def _mark_clip(path: Path) -> tuple[tuple[int, int], list[Pixels]]:
    """Width and height of the mark clip, and the brightness (h, w) of each frame."""
    with av.open(str(path)) as container:
        frames = [
            np.asarray(f.to_ndarray(format="gray"), np.uint8) for f in container.decode(video=0)
        ]
    return (frames[0].shape[1], frames[0].shape[0]), frames


def _moving(
    look: Look, mark: Path, size: tuple[int, int], count: int, start: int
) -> list[tuple[int, Pixels, tuple[int, int]]]:
    """First frame, alpha (n, h, w) and place of each run of the mark clip, fitted to `size`.

    All frames of a run are scaled alike, so that what stands still in it stays so.
    """
    clip_size, clip = _mark_clip(mark)
    frames = [clip[(start + i) % len(clip)] for i in range(count)]
    spans: list[tuple[int, int]] = []
    for index, frame in enumerate(frames):
        if not (frame > BRIGHT).any():
            continue
        if spans and spans[-1][1] == index and _overlap(frames[index - 1], frame):
            spans[-1] = spans[-1][0], index + 1
        else:
            spans.append((index, index + 1))
    return [
        (first, *_fitted(look, np.stack(frames[first:last]), clip_size, size))
        for first, last in spans
    ]


def _overlap(one: Pixels, other: Pixels) -> bool:
    return bool(((one > BRIGHT) & (other > BRIGHT)).any())


def _fitted(
    look: Look, frames: Pixels, clip_size: tuple[int, int], size: tuple[int, int]
) -> tuple[Pixels, tuple[int, int]]:
    """A run's alpha (n, h, w) and its place x, y in a picture of `size`."""
    lit = np.asarray((frames > BRIGHT).any(axis=0))
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    x0, x1 = max(0, int(columns[0]) - 4), min(clip_size[0], int(columns[-1]) + 5)
    y0, y1 = max(0, int(rows[0]) - 4), min(clip_size[1], int(rows[-1]) + 5)
    bright = frames[:, y0:y1, x0:x1]
    own = int(columns[-1]) + 1 - int(columns[0])
    scale = look.width / own if look.width else min(size) / min(clip_size)
    wanted = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    alpha = np.stack([cv2.resize(frame, wanted, interpolation=how) for frame in bright])
    if look.opacity is not None:
        peak = np.percentile(bright[bright > 100], 75)
        alpha = np.clip(np.rint(alpha * (look.opacity * 255 / peak)), 0, 255).astype(np.uint8)
    margin = min(size) / min(clip_size)
    left, right = x0 * margin, (clip_size[0] - x1) * margin
    x = round(left) if left < right else round(size[0] - right - wanted[0])
    y = round(y0 / max(1, clip_size[1] - (y1 - y0)) * (size[1] - wanted[1]))
    if look.beyond:
        out = round(look.beyond * wanted[0]), round(look.beyond / 2 * wanted[1])
        x = -out[0] if left < right else size[0] - wanted[0] + out[0]
        y = -out[1] if y < size[1] / 3 else size[1] - wanted[1] + out[1] if y > size[1] / 2 else y
    return alpha.astype(np.uint8, copy=False), (x, y)
