"""Draw the marks to find, from nothing: no pixel of a real mark is used.

A mark is a lobed, cloud-like icon with two eyes, usually a word beside it, sometimes a name under
it. It is drawn as `Matte`: how opaque the overlay is in each pixel and how bright.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]

ICON = 96  # height in pixels at which an icon is drawn before it is scaled
VISIBLE = 0.12  # opacity, as a share of the mark's own, from which a pixel counts as the mark's
FAINT = 4.0  # a mark that changes its pixels by less than this in the mean, of 255, is none
HOLES = 0.85  # share of icons through whose eyes the picture shows, as through the real one's
OUTLINED = 0.05  # share of icons drawn as an outline with two dots
_SANS = re.compile(
    r"^(Inter|Roboto|OpenSans|Lato|Cabin|Cantarell|Manrope|NotoSans|NotoSansDisplay|Quicksand|Sora"
    r"|Karla|LeagueSpartan|ClearSans|Dosis|Comfortaa|NimbusSans|Go|Oxygen|Carlito|Arimo|B612"
    r"|texgyreheros|NationalPark|Junction|Play|Allerta|GilliusADF|FreeSans|DejaVuSans|LiberationSans"
    r"|ComicNeue)[-_.]",
    re.IGNORECASE,
)
_BOLD = re.compile(r"bold|semi|demi|medium|heavy|black", re.IGNORECASE)
_SLANTED = re.compile(r"ital|obli|slant|thin|condensedlight", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Matte:
    """An overlay: `alpha` 0..1 and `tone` 0..255, both float32 (h, w)."""

    alpha: Floats
    tone: Floats


@lru_cache(maxsize=1)
def fonts(root: str = "/usr/share/fonts") -> tuple[list[str], list[str]]:
    """Return the files of (bold sans, any Latin) fonts under `root`, sorted."""
    files = sorted(str(p) for p in Path(root).rglob("*") if p.suffix in {".ttf", ".otf"})
    upright = [f for f in files if not _SLANTED.search(Path(f).name)]
    bold = [f for f in upright if _SANS.match(Path(f).name) and _BOLD.search(Path(f).name)]
    latin = [
        f for f in files if not re.search(r"Noto(Sans|Serif|Kufi|Naskh|Rashi|Music|Looped)[A-Z]", f)
    ]
    return bold, latin


@lru_cache(maxsize=512)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def text_alpha(text: str, font: str, size: int) -> Floats:
    """Draw one line of text; the picture is cropped to the pixels it covers (h, w), 0..1."""
    face = _font(font, size)
    x0, y0, x1, y1 = (int(v) for v in face.getbbox(text))
    canvas = Image.new("L", (max(1, x1 - x0) + 4, max(1, y1 - y0) + 4))
    ImageDraw.Draw(canvas).text((2 - x0, 2 - y0), text, fill=255, font=face)
    alpha = np.asarray(canvas, np.float32) / np.float32(255)
    x0, y0, x1, y1 = extent(alpha, 0.05)
    return alpha[y0:y1, x0:x1]


def extent(alpha: Floats, threshold: float) -> tuple[int, int, int, int]:
    """Return the half-open box of the pixels above `threshold`, all zeros if there are none."""
    rows, columns = (
        np.flatnonzero((alpha > threshold).any(1)),
        np.flatnonzero((alpha > threshold).any(0)),
    )
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def icon(rng: np.random.Generator, *, eyes: bool = True, turned: float = 0.0) -> Matte:
    """Draw a cloud of 5 to 7 lobes, ICON pixels high, with two eyes or none.

    The same generator state with another `turned` (radians) is the same cloud at another time.
    """
    size = ICON + 8
    y, x = np.mgrid[:size, :size].astype(np.float32) - (size - 1) / 2
    turn, lobes = rng.uniform(0, 2 * np.pi) + turned, int(rng.choice([5, 6, 6, 6, 7]))
    theta = np.arctan2(y, x)
    depth, power = rng.uniform(0.06, 0.2), rng.uniform(0.5, 1.4)
    bumps = np.abs(np.cos(lobes * (theta - turn) / 2)) ** power
    wobble = rng.uniform(0, 0.03) * np.cos(2 * theta - turn) + rng.uniform(0, 0.025) * np.cos(
        3 * theta
    )
    edge = ICON / 2 * (1 - depth * (1 - bumps) + wobble - 0.03)
    alpha: Floats = np.clip(edge - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)
    tone: Floats = np.full_like(alpha, 255)
    if rng.random() < OUTLINED:
        inner = edge - ICON * rng.uniform(0.07, 0.14)
        alpha *= 1 - np.clip(inner - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)
        return (
            _cropped(np.maximum(alpha, _eyes(rng, x, y, dots=True)[0]), tone)
            if eyes
            else (_cropped(alpha, tone))
        )
    if eyes:
        inside, sparkle = _eyes(rng, x, y, dots=rng.random() < 0.1)
        dark = inside * (1 - sparkle)
        if rng.random() < HOLES:
            alpha = alpha * (1 - dark * np.float32(rng.uniform(0.85, 1)))
        else:
            tone = tone - dark * np.float32(rng.uniform(120, 255))
    return _cropped(alpha, tone)


def _eyes(rng: np.random.Generator, x: Floats, y: Floats, *, dots: bool) -> tuple[Floats, Floats]:
    """Two upright ovals, 0..1, at pixel coordinates from the centre; and the stars in them."""
    radius = ICON / 2
    spread, tall = rng.uniform(0.22, 0.36) * radius, rng.uniform(0.18, 0.36) * radius
    if rng.random() < 0.12:
        tall *= rng.uniform(0.1, 0.6)  # a blink
    wide = rng.uniform(0.12, 0.27) * radius
    cx, cy = rng.uniform(-0.15, 0.15, 2) * radius
    cy -= rng.uniform(0, 0.22) * radius
    lean = np.radians(rng.uniform(-18, 8))
    inside, sparkle = np.zeros_like(x), np.zeros_like(x)
    stars = not dots and tall > 0.1 * radius and rng.random() < 0.85
    reach, sx, sy = wide * rng.uniform(0.4, 0.9), *rng.uniform(0.1, 0.4, 2)
    for side in (-1, 1):
        ex, ey = x - cx - side * spread * np.cos(lean), y - cy - side * spread * np.sin(lean)
        oval = np.clip((1 - np.hypot(ex / wide, ey / tall)) * wide + 0.5, 0, 1)
        inside = np.maximum(inside, oval)
        if stars:
            px, py = ex + wide * sx, ey + tall * sy
            star = np.sqrt(np.abs(px)) + np.sqrt(np.abs(py)) < np.sqrt(reach)
            dot = np.hypot(px - wide * 0.6, py - tall * 0.5) < wide * 0.25
            sparkle = np.maximum(sparkle, (star | dot) * oval)
    return inside.astype(np.float32), sparkle.astype(np.float32)


def _cropped(alpha: Floats, tone: Floats) -> Matte:
    x0, y0, x1, y1 = extent(alpha, 0.1)
    return Matte(alpha[y0:y1, x0:x1].astype(np.float32), tone[y0:y1, x0:x1].astype(np.float32))


def mark(
    rng: np.random.Generator,
    word: str = "Sora",
    name: str | None = None,
    alone: float = 0.08,
    turned: float = 0.0,
) -> Matte:
    """Draw a whole mark at drawing size: icon, word at some stage of fading in, name below.

    `alone` is the chance of an icon without a word, `turned` as for `icon`.
    """
    bold, latin = fonts()
    cloud = icon(rng, turned=turned)
    height, width = cloud.alpha.shape
    stage = rng.random()
    fade = 0.0 if stage < alone else rng.uniform(0.15, 1) if stage < alone + 0.08 else 1.0
    pieces: list[tuple[Floats, Floats, int, int]] = [(cloud.alpha, cloud.tone, 0, 0)]
    if fade:
        face = str(rng.choice(bold))
        letters = text_alpha(word, face, int(ICON * rng.uniform(0.62, 0.98)))
        left = width + int(ICON * rng.uniform(0.15, 0.5))
        top = int((height - letters.shape[0]) / 2 + ICON * rng.uniform(-0.08, 0.1))
        pieces.append((letters * np.float32(fade), np.full_like(letters, 255), left, top))
        if name:
            face = face if rng.random() < 0.7 else str(rng.choice(latin))
            line = text_alpha(name, face, int(ICON * rng.uniform(0.3, 0.5)))
            below = max(top + letters.shape[0], 0 if rng.random() < 0.6 else height)
            start = left if rng.random() < 0.6 else 0
            gap = int(ICON * rng.uniform(0.06, 0.2))
            pieces.append(
                (
                    line * np.float32(rng.uniform(0.7, 1)),
                    np.full_like(line, 255),
                    start,
                    below + gap,
                )
            )
    x0, y0 = min(p[2] for p in pieces), min(p[3] for p in pieces)
    w = max(p[2] + p[0].shape[1] for p in pieces) - x0
    h = max(p[3] + p[0].shape[0] for p in pieces) - y0
    alpha, tone = np.zeros((h, w), np.float32), np.full((h, w), 255, np.float32)
    for part, light, left, top in pieces:
        at = np.s_[top - y0 : top - y0 + part.shape[0], left - x0 : left - x0 + part.shape[1]]
        alpha[at] = np.maximum(alpha[at], part)
        tone[at] = np.minimum(tone[at], light)
    return Matte(alpha, tone)


def scaled(matte: Matte, scale: float) -> Matte:
    """Resize; an enlargement is smooth, a reduction averages."""
    h, w = matte.alpha.shape
    size = max(2, round(w * scale)), max(2, round(h * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    premultiplied = cv2.resize(matte.tone * matte.alpha, size, interpolation=how)
    alpha = np.clip(cv2.resize(matte.alpha, size, interpolation=how), 0, 1)
    return Matte(alpha, np.clip(premultiplied / np.maximum(alpha, 1e-3), 0, 255))


def paste(
    picture: Floats, matte: Matte, x: int, y: int, opacity: float, colour: Floats
) -> Box | None:
    """Blend `matte` into RGB float `picture` (h, w, 3) at (x, y), in place; return the visible box.

    Returns None if nothing is inside the picture or the mark does not stand out from what is
    under it, in which case the picture is left as it was.
    """
    h, w = matte.alpha.shape
    bottom, right = min(h, picture.shape[0] - y), min(w, picture.shape[1] - x)
    cut = np.s_[max(0, -y) : max(0, bottom), max(0, -x) : max(0, right)]
    alpha = matte.alpha[cut]
    if not alpha.size:
        return None
    x, y = max(0, x), max(0, y)
    under = picture[y : y + alpha.shape[0], x : x + alpha.shape[1]]
    cover = (alpha * opacity)[..., None]
    over = under * (1 - cover) + colour * (matte.tone[cut][..., None] / 255) * cover
    solid = alpha > 0.5
    if not solid.any() or np.abs(over - under).mean(2)[solid].mean() < FAINT:
        return None
    x0, y0, x1, y1 = extent(alpha, VISIBLE)
    picture[y : y + alpha.shape[0], x : x + alpha.shape[1]] = over
    return x + x0, y + y0, x + x1, y + y1
