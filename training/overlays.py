"""Draw the overlays that the restorer learns to see through: marks, logos, plates, time stamps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from clutter import badge, colour, soft, word
from marks import Floats, Matte, fonts, mark, scaled, text_alpha
from PIL import Image, ImageDraw

NATURAL = 295.0  # width in pixels at which `mark` draws an icon and a word


@dataclass(frozen=True, slots=True)
class Overlay:
    """What lies over a picture: `alpha` (h, w) 0..1 and its light, `cast` (h, w, 3) 0..255.

    The picture under it becomes `picture * (1 - alpha) + cast`.
    """

    alpha: Floats
    cast: Floats

    def over(self, picture: Floats) -> Floats:
        return np.asarray(picture * (1 - self.alpha[..., None]) + self.cast, np.float32)

    def under(self, top: Overlay) -> Overlay:
        """This one with another of the same size on top."""
        return Overlay(1 - (1 - self.alpha) * (1 - top.alpha), top.over(self.cast))


def nothing(height: int, width: int) -> Overlay:
    return Overlay(np.zeros((height, width), np.float32), np.zeros((height, width, 3), np.float32))


def laid(
    height: int, width: int, matte: Matte, x: int, y: int, opacity: float, ink: Floats
) -> Overlay:
    """A matte in one ink at (x, y) on an empty sheet; what reaches over the sheet is cut."""
    sheet = nothing(height, width)
    h, w = matte.alpha.shape
    cut = np.s_[max(0, -y) : max(0, min(h, height - y)), max(0, -x) : max(0, min(w, width - x))]
    alpha = matte.alpha[cut] * np.float32(opacity)
    at = np.s_[max(0, y) : max(0, y) + alpha.shape[0], max(0, x) : max(0, x) + alpha.shape[1]]
    sheet.alpha[at] = alpha
    sheet.cast[at] = (alpha * matte.tone[cut] / 255)[..., None] * ink
    return sheet


def place(rng: np.random.Generator, size: tuple[int, ...], sheet: tuple[int, int]) -> list[int]:
    """Where (x, y) something of `size` (h, w) goes, so that a good part of it is on `sheet`."""
    at = []
    for own, room in zip(size[::-1], sheet[::-1], strict=True):
        low, high = sorted((2.0, room - own - 2.0))
        at.append(int(rng.uniform(max(low, 0.25 * room - own), min(high, 0.75 * room))))
    return at


def marks(rng: np.random.Generator, height: int, width: int, turns: list[float]) -> list[Overlay]:
    """The animated mark at several times: a list of sheets, one for each of `turns` (radians)."""
    name = "@" + word(rng).lower() if rng.random() < 0.12 else None
    said = "Sora" if rng.random() < 0.8 else word(rng)
    wide = np.exp(rng.uniform(np.log(50), np.log(190)))
    blur = rng.uniform(0.3, 0.8) if rng.random() < 0.5 else 0.0
    opacity = rng.uniform(0.65, 0.85) if rng.random() < 0.5 else rng.uniform(0.35, 0.95)
    ink = colour(rng, white=True) if rng.random() < 0.5 else np.full(3, 255, np.float32)
    shadow = rng.uniform(0.1, 0.4) if rng.random() < 0.05 else 0.0
    seed = int(rng.integers(2**31))
    sheets: list[Overlay] = []
    at: list[int] = []
    for turn in turns:
        matte = mark(np.random.default_rng(seed), said, name, 0.08, turn)
        matte = scaled(matte, wide / NATURAL)
        matte = soft(matte, blur) if blur else matte
        at = at or place(rng, matte.alpha.shape, (height, width))
        x, y = at
        sheet = laid(height, width, matte, x, y, opacity, ink)
        if shadow:
            drop = soft(Matte(matte.alpha, np.zeros_like(matte.tone)), 1.5)
            sheet = laid(height, width, drop, x, y, shadow, ink).under(sheet)
        sheets.append(sheet)
    return sheets


def stamps(rng: np.random.Generator, height: int, width: int, times: list[float]) -> list[Overlay]:
    """A line of words or running figures at several times: plain, with a dark outline, on a bar."""
    bold, latin = fonts()
    face = str(rng.choice(bold if rng.random() < 0.6 else latin))
    figures = f"{rng.integers(2000, 2030)}-{rng.integers(10, 13)}-{rng.integers(10, 29)} "
    figures += f"{rng.integers(10, 24)}:{rng.integers(10, 60)}:"
    if rng.random() < 0.6:
        pace = rng.choice([1 / 30, 1, 3])
        said = [f"{figures}{int(35 + pace * t) % 60:02}" for t in times]
    else:
        said = [" ".join(word(rng) for _ in range(3))] * len(times)
    high = int(np.exp(rng.uniform(np.log(12), np.log(44))))
    inks = [text_alpha(text, face, high)[:, : 2 * width] for text in said]
    size = (max(ink.shape[0] for ink in inks), max(ink.shape[1] for ink in inks))
    x, y = place(rng, size, (height, width))
    opacity = 1.0 if rng.random() < 0.35 else rng.uniform(0.4, 1)
    ink = colour(rng, white=rng.random() < 0.7)
    style, edge = rng.random(), int(rng.integers(1, 3))
    bar = np.ones((size[0] + 8, size[1] + 12), np.float32)
    ground = colour(rng, white=False) * np.float32(rng.choice([0, 0, 1]))
    behind = laid(height, width, Matte(bar, bar * 255), x - 6, y - 4, rng.uniform(0.3, 0.8), ground)
    sheets = []
    for letters in inks:
        top = laid(height, width, Matte(letters, np.full_like(letters, 255)), x, y, opacity, ink)
        if style < 0.35:
            thick = cv2.copyMakeBorder(letters, *[edge] * 4, cv2.BORDER_CONSTANT)
            thick = cv2.dilate(thick, np.ones((2 * edge + 1,) * 2, np.uint8)).astype(np.float32)
            rim = Matte(thick, np.zeros_like(thick))
            top = laid(height, width, rim, x - edge, y - edge, opacity, ink).under(top)
        elif style < 0.7:
            top = behind.under(top)
        sheets.append(top)
    return sheets


def logo(rng: np.random.Generator, height: int, width: int) -> Overlay:
    """A sign and a word, in one or two inks; every third is opaque."""
    opacity = 1.0 if rng.random() < 0.33 else rng.uniform(0.3, 0.95)
    white = rng.random() < 0.35
    high = rng.uniform(18, 70)
    shape = badge(rng)
    matte = scaled(Matte(shape, np.full_like(shape, 255)), high / 96)
    x, y = place(rng, (int(high), int(high)), (height, width))
    first, second = colour(rng, white=white), colour(rng, white=white)
    sheet = laid(height, width, matte, x, y, opacity, first)
    if rng.random() < 0.4:
        inner = scaled(Matte(shape, np.full_like(shape, 255)), high / 200)
        at = int(x + high * 0.27), int(y + high * 0.27)
        sheet = sheet.under(laid(height, width, inner, *at, rng.uniform(0.5, 1), second))
    if rng.random() < 0.7:
        letters = text_alpha(
            word(rng), str(rng.choice(fonts()[0])), int(high * rng.uniform(0.4, 0.9))
        )
        words = Matte(letters, np.full_like(letters, 255))
        at = int(x + high * 1.2), int(y + high * 0.2)
        sheet = sheet.under(laid(height, width, words, *at, opacity, second))
    return sheet


def plate(rng: np.random.Generator, height: int, width: int) -> Overlay:
    """A word, mostly with a sign before it, on a plate, square or round; every second is opaque."""
    opacity = 1.0 if rng.random() < 0.5 else rng.uniform(0.35, 0.95)
    high = np.exp(rng.uniform(np.log(16), np.log(70)))
    letters = text_alpha(word(rng), str(rng.choice(fonts()[0])), int(high * rng.uniform(0.35, 0.7)))
    gap = int(high * rng.uniform(0.15, 0.4))
    sign = badge(rng) if rng.random() < 0.6 else np.zeros((1, 1), np.float32)
    sign = scaled(Matte(sign, np.full_like(sign, 255)), high * 0.7 / 96).alpha
    tall = max(int(high), letters.shape[0] + 4)
    wide = letters.shape[1] + sign.shape[1] + 3 * gap
    canvas = Image.new("L", (4 * wide, 4 * tall))
    bend = 4 * tall * rng.choice([0, rng.uniform(0.05, 0.3), 0.5])
    ImageDraw.Draw(canvas).rounded_rectangle((0, 0, 4 * wide - 1, 4 * tall - 1), bend, fill=255)
    body = np.asarray(canvas.resize((wide, tall), Image.Resampling.BOX), np.float32) / 255
    shade = np.linspace(*rng.uniform(150, 255, 2), tall, dtype=np.float32)[:, None]
    tone = shade * np.ones_like(body) if rng.random() < 0.3 else np.full_like(body, 255)
    x, y = place(rng, body.shape, (height, width))
    sheet = laid(height, width, Matte(body, tone), x, y, opacity, colour(rng, white=False))
    for shape, at in ((sign, gap), (letters, 2 * gap + sign.shape[1])):
        ink = colour(rng, white=rng.random() < 0.6)
        top = Matte(shape, np.full_like(shape, 255))
        centred = y + (tall - shape.shape[0]) // 2
        sheet = sheet.under(laid(height, width, top, x + at, centred, opacity, ink))
    return sheet


def overlays(
    rng: np.random.Generator,
    height: int,
    width: int,
    times: list[float],
    spin: float,
) -> list[Overlay]:
    """One overlay at several times, in frames; marks turn by `spin` radians in one.

    Logos and plates stay as they are.
    """
    kind = rng.random()
    if kind < 0.64:
        return marks(rng, height, width, [spin * time for time in times])
    if kind < 0.78:
        return stamps(rng, height, width, times)
    still = (logo if kind < 0.88 else plate)(rng, height, width)
    return [still] * len(times)
