"""Lines of text: the second line of a mark, and words that are none."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.learn.mark import Floats, Mark, extent

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LONGEST_TEXT = 64
VARIANTS = 3  # fonts tried for a second line; which one a clip uses is not known
_HEIGHT = 48  # pixels at which letters are drawn before they are scaled
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "/Library/Fonts")
_PLAIN = ("DejaVuSans", "LiberationSans", "NotoSans-", "Roboto-", "Arial", "Helvetica", "OpenSans")
_NO_CHARACTER = "\U0010ffff"


@lru_cache(maxsize=1)
def fonts() -> tuple[Font, ...]:
    """Return the system's fonts, plain ones first, and Pillow's own at the end."""
    files = [
        path
        for folder in _FOLDERS
        for path in sorted(Path(folder).expanduser().rglob("*"))
        if path.suffix.lower() in {".ttf", ".otf"}
    ]
    files.sort(key=lambda path: not path.name.startswith(_PLAIN))
    found: list[Font] = []
    for path in files[:60]:
        try:
            found.append(ImageFont.truetype(str(path), _HEIGHT))
        except OSError:  # a damaged font file is not our matter
            continue
    return (*found, ImageFont.load_default(_HEIGHT))


def letters(text: str, font: Font) -> Floats:
    """Draw one line; returns the alpha (h, w), 0..1, cropped to what is visible."""
    x0, y0, x1, y1 = (int(value) for value in font.getbbox(text))
    canvas = Image.new("L", (max(1, x1 - x0) + 4, max(1, y1 - y0) + 4))
    ImageDraw.Draw(canvas).text((2 - x0, 2 - y0), text, fill=255, font=font)
    alpha = np.asarray(canvas, np.float32) / np.float32(255)
    left, top, right, bottom = extent(alpha)
    return alpha[top:bottom, left:right]


def with_text(mark: Mark, text: str) -> list[Mark]:
    """Put a line of text under a mark, once for each of a few fonts.

    Raises:
        ConfigError: the text is empty, too long, of several lines, or no font has its letters.
    """
    if not text.strip() or len(text) > LONGEST_TEXT or not text.isprintable():
        raise ConfigError(f"--text must be one line of 1 to {LONGEST_TEXT} printable characters")
    able = [font for font in fonts() if _has(font, text)][:VARIANTS]
    if not able:
        raise ConfigError("--text: no font on this machine has all of its characters")
    return [_stacked(mark, letters(text, font)) for font in able]


def _has(font: Font, text: str) -> bool:
    missing = bytes(font.getmask(_NO_CHARACTER))
    return all(bytes(font.getmask(sign)) != missing for sign in set(text) if not sign.isspace())


def _stacked(mark: Mark, line: Floats) -> Mark:
    """The line is a third as high as the mark, or as much lower as keeps it within its width."""
    height, width = mark.alpha.shape
    ink = np.average(mark.colour.reshape(-1, 3), axis=0, weights=mark.alpha.ravel())
    drawn = Mark(line, np.broadcast_to(ink.astype(np.float32), (*line.shape, 3)).copy())
    tall = min(height / 3, max(width * 1.5, 48) * line.shape[0] / line.shape[1])
    drawn = drawn.scaled(tall / line.shape[0])
    gap = max(1, round(tall / 4))
    below, across = drawn.alpha.shape
    alpha = np.zeros((height + gap + below, max(width, across)), np.float32)
    colour = np.zeros((*alpha.shape, 3), np.float32)
    for part, top in ((mark, 0), (drawn, height + gap)):
        high, wide = part.alpha.shape
        left = (alpha.shape[1] - wide) // 2
        alpha[top : top + high, left : left + wide] = part.alpha
        colour[top : top + high, left : left + wide] = part.colour
    return Mark(alpha, colour)
