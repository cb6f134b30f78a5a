"""How marks look, and those of them that the bench draws itself: logos and time stamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Kind = Literal["sora", "opaque", "translucent", "time", "bar"]


@dataclass(frozen=True)
class Look:
    """What lies over a scene.

    Attributes:
        kind: `sora` is the mark clip; the others stay where they are.
        opacity: of the mark clip's brightest parts, 0 to 1; None as it is.
        width: of the mark in pixels; None for the mark clip's own share of the short side.
        beyond: share of the mark's width, and half as much of its height, beyond the frame's edge.
    """

    kind: Kind = "sora"
    opacity: float | None = None
    width: int | None = None
    beyond: float = 0.0


def yuv(rgb: Pixels) -> Pixels:
    """RGB (h, w, 3) as Y, U, V (3, h, w), limited range, BT.601."""
    r, g, b = (rgb[..., i].astype(np.float32) / 255 for i in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    parts = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.772, 128 + 224 * (r - luma) / 1.402
    return np.rint(np.stack(parts)).astype(np.uint8)


def logo(look: Look, short_side: int) -> tuple[Pixels, Pixels]:
    """Alpha (h, w) and RGB (h, w, 3) of a logo a fifth of the short side wide.

    Opaque: a plate of three colours with a word. Translucent: a coloured ring with a word, half
    see-through.
    """
    scale = 4
    width = look.width or short_side // 4
    size = width * scale, width * scale * 2 // 5
    ink = Image.new("RGB", size, (250, 120, 30) if look.kind == "translucent" else (20, 60, 140))
    cover = Image.new("L", size)
    pen, draw = ImageDraw.Draw(ink), ImageDraw.Draw(cover)
    width, height = size
    font = ImageFont.load_default(height * 0.32)
    disc = (height * 0.15, height * 0.15, height * 0.85, height * 0.85)
    at = (height, height / 2)
    if look.kind == "opaque":
        draw.rounded_rectangle((0, 0, width - 1, height - 1), height // 5, fill=255)
        pen.ellipse(disc, fill=(250, 190, 40))
        pen.polygon(
            [(height * f, height * g) for f, g in ((0.4, 0.3), (0.4, 0.7), (0.7, 0.5))],
            (200, 30, 40),
        )
        pen.text(at, "NORDEN", fill=(255, 255, 255), font=font, anchor="lm")
    else:
        draw.ellipse(disc, outline=255, width=height // 9)
        draw.text(at, "norden", fill=255, font=font, anchor="lm", stroke_width=height // 60)
    small = width // scale, height // scale
    opacity = look.opacity if look.opacity is not None else 1.0 if look.kind == "opaque" else 0.5
    alpha = np.asarray(cover.resize(small, Image.Resampling.BOX), np.float32) * opacity
    rgb = np.asarray(ink.resize(small, Image.Resampling.BOX), np.uint8)
    return np.rint(alpha).astype(np.uint8), rgb


def time_stamp(look: Look, short_side: int, index: int) -> tuple[Pixels, Pixels]:
    """Alpha (h, w) and RGB (h, w, 3) of the time of frame `index`, hundredths running.

    `time`: white with a dark outline. `bar`: white on a translucent dark bar.
    """
    seconds, rest = divmod(index, 30)
    hours, minutes = 12 + seconds // 3600, seconds // 60 % 60
    text = f"2024-05-17 {hours:02}:{minutes:02}:{seconds % 60:02}.{rest * 10 // 3:02}"
    height = max(14, short_side // 22)
    font = ImageFont.load_default(height * 0.72)
    width = round(font.getlength("2024-05-17 00:00:00.00") + height)
    at, stroke = (height // 2, height / 2), max(1, height // 14)
    letters, outline = Image.new("L", (width, height)), Image.new("L", (width, height))
    ImageDraw.Draw(letters).text(at, text, fill=255, font=font, anchor="lm")
    ImageDraw.Draw(outline).text(at, text, fill=255, font=font, anchor="lm", stroke_width=stroke)
    white = np.asarray(letters, np.float32) / 255
    ground = (
        np.asarray(outline, np.float32) / 255 if look.kind == "time" else np.full_like(white, 0.45)
    )
    alpha = white + (1 - white) * ground
    grey = np.where(alpha > 0, white / np.maximum(alpha, 1e-6), 0) * 255
    rgb = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    return np.rint(alpha * 255).astype(np.uint8), rgb
