"""Reading the picture of a mark: which pixels belong to it, how opaque, in what colour."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sorawm_pipeline.errors import InputError

Floats = NDArray[np.float32]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
LARGEST_BYTES = 64_000_000
LARGEST_PIXELS = 16_000_000
SHORTEST_SIDE = 8
LONGEST_ASPECT = 16
KEPT_SIDE = 512  # pixels; no training picture shows a mark larger than this
VISIBLE = 0.12  # opacity from which a pixel counts as the mark's
_UNIFORM = 14  # levels by which a border may vary and still count as one colour
_CONTRAST = 48  # levels from the border's colour at which a pixel is wholly the mark's


@dataclass(frozen=True, slots=True)
class Mark:
    """An overlay with straight (not premultiplied) colour.

    Attributes:
        alpha: float32 (h, w), 0..1.
        colour: float32 RGB (h, w, 3), 0..255.
    """

    alpha: Floats
    colour: Floats

    def __post_init__(self) -> None:
        if self.colour.shape != (*self.alpha.shape, 3):
            raise ValueError(f"alpha {self.alpha.shape} and colour {self.colour.shape} differ")

    def scaled(self, factor: float) -> Mark:
        """Resize by `factor`, aspect kept; a reduction averages."""
        height, width = self.alpha.shape
        size = max(2, round(width * factor)), max(2, round(height * factor))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        alpha = cv2.resize(self.alpha, size, interpolation=how)
        premultiplied = cv2.resize(self.colour * self.alpha[..., None], size, interpolation=how)
        colour = np.clip(premultiplied / np.maximum(alpha, 1e-3)[..., None], 0, 255)
        return Mark(alpha.astype(np.float32), colour.astype(np.float32))

    def cropped(self, x0: int, y0: int, x1: int, y1: int) -> Mark:
        """Return the half-open region, in pixels."""
        return Mark(self.alpha[y0:y1, x0:x1], self.colour[y0:y1, x0:x1])


def read_mark(path: Path) -> Mark:
    """Read a picture with alpha, or an opaque crop of a frame whose matte is then estimated.

    Raises:
        InputError: missing, no picture, too large, too small, too long, or nothing visible in it.
    """
    picture = _open(path)
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        pixels = np.asarray(picture.convert("RGBA"), np.float32)
        mark = Mark(pixels[..., 3] / np.float32(255), pixels[..., :3])
        if (mark.alpha > 1 - VISIBLE / 10).all():
            mark = matte_of(mark.colour)
    else:
        mark = matte_of(np.asarray(picture.convert("RGB"), np.float32))
    if mark.alpha.max() <= VISIBLE:
        raise InputError(f"{path} is transparent everywhere: there is no mark in it")
    mark = mark.cropped(*extent(mark.alpha))
    height, width = mark.alpha.shape
    if min(height, width) < SHORTEST_SIDE:
        raise InputError(
            f"the mark in {path} is {width}x{height} pixels; each side needs {SHORTEST_SIDE}"
        )
    if max(height, width) > LONGEST_ASPECT * min(height, width):
        raise InputError(
            f"the mark in {path} is {width}x{height} pixels, longer than {LONGEST_ASPECT}:1"
        )
    # As opaque as can be: how opaque the mark is in a clip is varied in training.
    whole = Mark((mark.alpha / mark.alpha.max()).astype(np.float32), mark.colour)
    return whole.scaled(min(1.0, KEPT_SIDE / max(height, width)))


def matte_of(colour: Floats) -> Mark:
    """Estimate the matte of an opaque RGB crop (h, w, 3).

    Where the border is of one colour, what differs from it is the mark; else the whole rectangle.
    """
    edge = np.concatenate([colour[0], colour[-1], colour[:, 0], colour[:, -1]])
    ground = np.median(edge, axis=0)
    if np.percentile(np.abs(edge - ground).max(1), 90) > _UNIFORM:
        return Mark(np.ones(colour.shape[:2], np.float32), colour)
    away = np.abs(colour - ground).max(2)
    alpha = np.clip((away - _UNIFORM) / (_CONTRAST - _UNIFORM), 0, 1).astype(np.float32)
    if (alpha > VISIBLE).sum() < SHORTEST_SIDE**2 / 2:  # one flat rectangle
        return Mark(np.ones(colour.shape[:2], np.float32), colour)
    cover = np.maximum(alpha, 0.05)[..., None]
    own = np.clip((colour - ground * (1 - cover)) / cover, 0, 255)
    return Mark(alpha, own.astype(np.float32))


def extent(alpha: Floats) -> tuple[int, int, int, int]:
    """Return the half-open box x0, y0, x1, y1 of the visible pixels; zeros if there are none."""
    seen = alpha > VISIBLE
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _open(path: Path) -> Image.Image:
    try:
        if not path.is_file():
            raise InputError(f"there is no picture at {path}", kind="missing")
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path} is larger than {LARGEST_BYTES // 1_000_000} MB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked here, before a pixel is decoded
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > LARGEST_PIXELS:
                    raise InputError(
                        f"{path} is {picture.width}x{picture.height} pixels, too large for a mark"
                    )
                picture.load()
                return picture.copy()
    except (UnidentifiedImageError, ImportError) as error:
        # Once Ultralytics is imported, its Image.open looks for a plugin that is not installed.
        raise InputError(f"{path} is no picture in a known format: {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow has no base class of its own for what broken files make it raise.
        raise InputError(f"{path} cannot be read as a picture: {error}") from error
