"""Make text-rich clips to evaluate on: a page scrolled, a pan over screenshots, a broadcast.

    python training/textclips.py --cache CACHE --text LICENSE --output CLIPS

The screenshots and photographs are of the held-out split of the cache, the words are those of the
text given, laid out and seeded apart from what the generator draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from generate import Cache, Pixels
from options import clip_parser
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, FRAMES = 1280, 720, 120
SCREENS = ("debian-handbook", "gimp/2.0/help", "gnome-help", "debian-edu")
FONTS = "/usr/share/fonts/truetype"
SERIF = f"{FONTS}/liberation/LiberationSerif-Regular.ttf"
SANS = f"{FONTS}/liberation/LiberationSans-Bold.ttf"


def write(path: Path, frames: Iterator[Pixels]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def scrolled(tall: Pixels, frames: int = FRAMES) -> Iterator[Pixels]:
    """Slide a view of the clip's size down a picture."""
    for number in range(frames):
        y = number * (tall.shape[0] - HEIGHT) // (frames - 1)
        yield np.ascontiguousarray(tall[y : y + HEIGHT])


def document(text: str) -> Pixels:
    """A tall page of the text in two columns, with headings on coloured bars and bullets."""
    sheet = Image.new("RGB", (WIDTH, 3 * HEIGHT), (246, 244, 238))
    pen = ImageDraw.Draw(sheet)
    body, head = ImageFont.truetype(SERIF, 26), ImageFont.truetype(SANS, 34)
    words = text.split()
    for left in (40, 680):
        y, row = 30, 0
        while y < sheet.height:
            row += 1
            line: list[str] = []
            while words and body.getlength(" ".join([*line, words[0]])) < 540:
                line.append(words.pop(0))
            if row % 9 == 0:
                pen.rectangle((left, y, left + 560, y + 48), fill=(40, 70 + 9 * row % 120, 130))
                pen.text((left + 60, y + 4), " ".join(line[:3]), "white", head)
                pen.ellipse((left + 8, y + 6, left + 44, y + 42), "white")
                y += 20
            else:
                if row % 4 == 0:
                    pen.ellipse((left, y + 6, left + 18, y + 24), (70, 70, 70))
                pen.text((left + 28, y), " ".join(line), (30, 30, 30), body)
            y += 38
    return np.asarray(sheet, np.uint8)


def fitted(picture: Pixels) -> Pixels:
    scale = max(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    size = max(WIDTH, round(picture.shape[1] * scale)), max(HEIGHT, round(picture.shape[0] * scale))
    large = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large[:, :WIDTH], np.uint8)


def broadcast(photos: list[Pixels], text: str) -> Iterator[Pixels]:
    """Photographs with a scoreboard, a running clock, subtitles and a ticker."""
    words = text.split()
    small, large = ImageFont.truetype(SANS, 30), ImageFont.truetype(SANS, 44)
    ticker = "  ".join(words[200:320])
    for number in range(FRAMES):
        frame = Image.fromarray(photos[number * len(photos) // FRAMES])
        pen = ImageDraw.Draw(frame)
        pen.rectangle((40, 40, 420, 100), fill=(15, 25, 60))
        pen.ellipse((52, 50, 92, 90), fill="white")
        pen.text((104, 46), f"Sord {number // 40} : {number // 60} Bora", "white", large)
        pen.text((1100, 46), f"00:{number // 30:02}:{number % 30:02}", "white", large)
        said = " ".join(words[number // 24 * 7 :][:7])
        for shift, ink in (((2, 2), "black"), ((0, 0), "white")):
            pen.text((240 + shift[0], 560 + shift[1]), said, ink, large)
        pen.rectangle((0, 650, WIDTH, 720), fill=(200, 20, 30))
        pen.text((WIDTH - 12 * number, 664), ticker, "white", small)
        yield np.asarray(frame, np.uint8)


def main() -> None:
    arguments = clip_parser(__doc__, seed=920).parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = arguments.text.read_text()
    cache = Cache.open(arguments.cache, "held-out")
    rng = np.random.default_rng(arguments.seed)
    order = rng.permutation(len(cache.entries))
    screens = [n for n in order if any(s in cache.files[n] for s in SCREENS)]
    photos = [n for n in order if "/wallpapers/" in cache.files[n]]
    wide = [n for n in screens if cache.entries[n][1][1] >= 500]
    write(arguments.output / "text-page.mp4", scrolled(document(text)))
    strip = np.concatenate([fitted(cache.picture(n)) for n in wide[:6]])
    write(arguments.output / "text-screens.mp4", scrolled(strip))
    stills = [fitted(cache.picture(n))[:HEIGHT] for n in photos[:4]]
    write(arguments.output / "text-broadcast.mp4", broadcast(stills, text))


if __name__ == "__main__":
    main()
