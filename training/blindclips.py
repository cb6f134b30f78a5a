"""Make clips that are looked at once, when weights and rules are chosen: nothing is tuned on them.

    python training/blindclips.py --cache CACHE --text LICENSE --output CLIPS

A letter on white paper, a terminal, credits rolling over a photograph, and photographs zoomed into
that fade over. The photographs are of the held-out split of the cache; text and photographs are
others than those of `textclips.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from generate import Cache, Pixels
from options import clip_parser
from PIL import Image, ImageDraw, ImageFont
from textclips import FONTS, HEIGHT, SANS, WIDTH, fitted, scrolled, write

FRAMES = 150
LETTER = f"{FONTS}/dejavu/DejaVuSerif.ttf"
MONO = f"{FONTS}/dejavu/DejaVuSansMono.ttf"
PHOTOGRAPHS = ("/backgrounds/mate/nature", "explore_")  # none that `textclips.py` shows


def letter(words: list[str]) -> Pixels:
    """One wide column of black letters on white."""
    sheet = Image.new("RGB", (WIDTH, 2 * HEIGHT), (252, 252, 252))
    pen, face = ImageDraw.Draw(sheet), ImageFont.truetype(LETTER, 22)
    left = list(words)
    for y in range(24, sheet.height, 34):
        line: list[str] = []
        while left and face.getlength(" ".join([*line, left[0]])) < 1100:
            line.append(left.pop(0))
        pen.text((90, y), " ".join(line), (10, 10, 10), face)
    return np.asarray(sheet, np.uint8)


def terminal(words: list[str]) -> Iterator[Pixels]:
    """Coloured lines on black that jump up, one every three frames."""
    face = ImageFont.truetype(MONO, 20)
    inks = ("#d0d0d0", "#d0d0d0", "#80e080", "#e0c060", "#70b0ff", "white")
    for number in range(FRAMES):
        frame = Image.new("RGB", (WIDTH, HEIGHT), (12, 14, 18))
        pen = ImageDraw.Draw(frame)
        for row in range(26):
            line = row + number // 3
            said = f"{line:04} " + " ".join(words[line * 9 :][: 3 + 7 * line % 9])
            pen.text((16, 10 + 27 * row), said, inks[line * 5 % 6], face)
        yield np.asarray(frame, np.uint8)


def credits_over(photo: Pixels, words: list[str]) -> Iterator[Pixels]:
    """White names in pairs, rolling up over a photograph."""
    face = ImageFont.truetype(SANS, 36)
    for number in range(FRAMES):
        frame = Image.fromarray(photo)
        pen = ImageDraw.Draw(frame)
        for row in range(40):
            y = HEIGHT // 2 + 62 * row - 9 * number
            role, name = words[3 * row], " ".join(words[3 * row + 1 : 3 * row + 3]).title()
            pen.text((600 - face.getlength(role), y), role, (225, 225, 225), face)
            pen.text((640, y), name, "white", face)
        yield np.asarray(frame, np.uint8)


def zoomed(photos: list[Pixels]) -> Iterator[Pixels]:
    """Photographs, slowly zoomed into, each fading over into the next."""
    each = FRAMES / len(photos)
    for number in range(FRAMES):
        which, share = int(number / each), number / each % 1
        views = []
        for photo, far in ((photos[which], share), (photos[(which + 1) % len(photos)], 0.0)):
            across, down = (round(side * (1 - 0.35 * far)) for side in (WIDTH, HEIGHT))
            x, y = (WIDTH - across) // 3, (HEIGHT - down) // 2
            view = cv2.resize(photo[y : y + down, x : x + across], (WIDTH, HEIGHT))
            views.append(view.astype(np.float32))
        fade = np.float32(max(0.0, (share - 0.75) * 4))
        yield (views[0] + (views[1] - views[0]) * fade).astype(np.uint8)


def main() -> None:
    arguments = clip_parser(__doc__, seed=77).parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    words = arguments.text.read_text().split()[1500:]
    cache = Cache.open(arguments.cache, "held-out")
    photos = [n for n, file in enumerate(cache.files) if any(p in file for p in PHOTOGRAPHS)]
    large = [n for n in photos if cache.entries[n][1][1] >= 1000]
    chosen = np.random.default_rng(arguments.seed).permutation(large)[:6]
    stills = [np.ascontiguousarray(fitted(cache.picture(int(n)))[:HEIGHT]) for n in chosen]
    write(arguments.output / "blind-letter.mp4", scrolled(letter(words), FRAMES))
    write(arguments.output / "blind-terminal.mp4", terminal(words))
    write(arguments.output / "blind-credits.mp4", credits_over(stills[0], words))
    write(arguments.output / "blind-zoom.mp4", zoomed(stills[1:]))


if __name__ == "__main__":
    main()
