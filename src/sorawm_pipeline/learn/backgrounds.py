"""What may lie under a mark: computed pictures, and the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.learn.mark import Floats

Pixels = NDArray[np.uint8]

SIDE = 512  # pixels of a computed picture
LONG_SIDE = 1280  # of a stored picture of the user's
MOST_OWN = 400  # pictures kept, which bounds memory at about 1 GB
_PER_CLIP = 24
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def noise(rng: np.random.Generator, side: int = SIDE) -> Floats:
    """Octaves of smooth noise in related colours (side, side, 3), 0..255."""
    picture = np.ones((side, side, 3), np.float32) * rng.uniform(0, 255, 3).astype(np.float32)
    fall = rng.uniform(0.35, 0.9)
    strength = rng.uniform(15, 90)
    for octave in range(int(rng.integers(1, 8))):
        cells = 2 ** (octave + 1)
        layer = rng.normal(0, 1, (cells, cells, 1)) + rng.normal(0, 0.4, (cells, cells, 3))
        how = cv2.INTER_CUBIC if rng.random() < 0.8 else cv2.INTER_NEAREST
        grown = cv2.resize(layer.astype(np.float32), (side, side), interpolation=how)
        picture += grown * np.float32(strength * fall**octave)
    return np.clip(picture, 0, 255)


def leaves(rng: np.random.Generator, side: int = SIDE) -> Floats:
    """Dead leaves: shapes of power-law sizes that hide one another, as objects in photographs do.

    Their edges and scales are distributed as in photographs, which is why networks learn from
    them (Baradad et al., Learning to See by Looking at Noise, NeurIPS 2021).
    """
    picture = noise(rng, side)
    smallest, palette = rng.uniform(3, 14), rng.uniform(0, 255, (8, 3))
    for _ in range(int(rng.integers(20, 420))):
        radius = min(side / 2, smallest * (1 - rng.random()) ** -0.7)
        x, y = rng.uniform(0, side, 2)
        ink = np.clip(palette[rng.integers(8)] + rng.normal(0, 18, 3), 0, 255).tolist()
        shape = rng.random()
        if shape < 0.4:
            axes = int(radius) + 1, int(radius * rng.uniform(0.2, 1)) + 1
            cv2.ellipse(
                picture, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, ink, -1, cv2.LINE_AA
            )
        elif shape < 0.9:
            turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
            reach = radius * rng.uniform(0.5, 1, len(turns))
            corners = np.stack([x + reach * np.cos(turns), y + reach * np.sin(turns)], 1)
            cv2.fillPoly(picture, [corners.astype(np.int32)], ink, cv2.LINE_AA)
        else:
            end = int(x + rng.normal(0, 6 * radius)), int(y + rng.normal(0, 6 * radius))
            cv2.line(picture, (int(x), int(y)), end, ink, int(rng.integers(1, 6)), cv2.LINE_AA)
    if rng.random() < 0.6:  # light falls off, lenses blur
        picture *= cv2.resize(rng.uniform(0.5, 1.4, (3, 3, 1)).astype(np.float32), (side, side))[
            ..., None
        ]
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 5))
    picture += rng.normal(0, rng.uniform(0, 10), picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255)


def computed(rng: np.random.Generator) -> Pixels:
    """One computed picture (SIDE, SIDE, 3), RGB."""
    picture = noise(rng) if rng.random() < 0.25 else leaves(rng)
    return picture.astype(np.uint8)


def photographs(*, held_out: bool) -> list[Pixels]:
    """The photograph that Ultralytics ships; another one is kept for validation."""
    from ultralytics.utils import ASSETS

    found = _picture(Path(ASSETS) / ("zidane.jpg" if held_out else "bus.jpg"))
    return [found] if found is not None else []


def own(paths: Sequence[Path]) -> tuple[list[Pixels], list[Pixels]]:
    """Load the user's pictures and clips: (for training, held out), RGB (h, w, 3) each.

    Every fifth file is held out; of a single clip, its last fifth.

    Raises:
        ConfigError: a path is missing, or nothing in it can be read.
    """
    seen: list[list[Pixels]] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"--backgrounds: there is nothing at {path}")
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        before = len(seen)
        for file in files:
            frames = list(_frames(file))
            if frames and sum(map(len, seen)) < MOST_OWN:
                seen.append(frames)
        if len(seen) == before:
            raise ConfigError(f"--backgrounds: no picture or clip in {path} can be read")
    if len(seen) == 1 and len(seen[0]) > 4:
        cut = len(seen[0]) * 4 // 5
        return seen[0][:cut], seen[0][cut:]
    train = [frame for number, frames in enumerate(seen) if number % 5 != 4 for frame in frames]
    return train, [frame for frames in seen[4::5] for frame in frames]


def _frames(path: Path) -> Iterator[Pixels]:
    """The picture in a file, or frames spread over a clip; nothing if it is neither."""
    if path.suffix.lower() in _PICTURES:
        picture = _picture(path)
        if picture is not None:
            yield picture
        return
    from sorawm_pipeline.errors import PipelineError
    from sorawm_pipeline.learn.clips import spread

    try:
        yield from (_bounded(frame) for frame in islice(spread(path, _PER_CLIP), _PER_CLIP))
    except PipelineError:
        return


def _picture(path: Path) -> Pixels | None:
    raw = (
        cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    )
    if raw is None or min(raw.shape[:2]) < 32:
        return None
    return _bounded(np.ascontiguousarray(raw[..., ::-1], np.uint8))


def _bounded(picture: Pixels) -> Pixels:
    factor = LONG_SIDE / max(picture.shape[:2])
    if factor >= 1:
        return picture
    return np.asarray(
        cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
    )
