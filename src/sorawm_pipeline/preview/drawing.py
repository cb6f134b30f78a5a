"""Boxes, masks, words and the time line, drawn with Pillow in displayed orientation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.preview.findings import Findings, Span
from sorawm_pipeline.report import FrameMark

Colour = tuple[int, int, int]
Mask = NDArray[np.float32]
"""How much of each pixel of a mark's box is mark, 0 to 1, (height, width) of that box."""

SEEN: Colour = (0, 205, 255)
FILLED: Colour = (255, 150, 0)
PAPER: Colour = (24, 26, 30)
RAIL: Colour = (58, 62, 70)
INK: Colour = (240, 240, 240)
FAINT: Colour = (150, 155, 165)
MASK_OPACITY = 0.5
LANES = 6
"""Marks at once that the time line tells apart; more share its last lane."""
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 36000)


@cache
def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class Viewer:
    """Turns frames into pictures as a player shows them, `width` x `height` pixels upright.

    One scaler serves all frames: a frame's own is made anew each time, which takes longer than the
    scaling.
    """

    def __init__(self, clip: ClipInfo, width: int, height: int) -> None:
        self._display = clip.display
        self._size = (height, width) if clip.display.transpose else (width, height)
        self._scaler = VideoReformatter()

    def picture(self, frame: Frame) -> Image.Image:
        """RGB."""
        scaled = self._scaler.reformat(frame.picture, *self._size, "rgb24")
        pixels = np.asarray(scaled.to_ndarray(), np.uint8)
        return Image.fromarray(np.ascontiguousarray(self._display.upright(pixels)))


def draw_marks(
    picture: Image.Image,
    marks: Sequence[FrameMark],
    size: float,
    scale: float = 1.0,
    masks: Sequence[Mask | None] = (),
) -> None:
    """Draw boxes around marks, with their confidence; what lies in a box stays as it is.

    Args:
        picture: RGB, upright; changed in place.
        marks: boxes in displayed pixels.
        size: of the letters, pixels.
        scale: pixels of `picture` per displayed pixel.
        masks: for each mark its mask, painted translucent over the picture, or None; may be left
            out.
    """
    for index, mark in enumerate(marks):
        x0, y0, x1, y1 = (round(side * scale) for side in mark.box)
        colour = FILLED if mark.origin == "filled" else SEEN
        box = (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))
        if index < len(masks) and (mask := masks[index]) is not None:
            _tint(picture, box, colour, mask)
        _frame(picture, box, colour, label(mark), size)


def label(mark: FrameMark) -> str:
    return f"{mark.confidence:.2f}" + (" filled" if mark.origin == "filled" else "")


def _tint(picture: Image.Image, box: tuple[int, int, int, int], colour: Colour, mask: Mask) -> None:
    alpha = Image.fromarray((np.clip(mask, 0, 1) * (255 * MASK_OPACITY)).astype(np.uint8))
    picture.paste(colour, box, alpha.resize((box[2] - box[0], box[3] - box[1])))


def _frame(
    picture: Image.Image, box: tuple[int, int, int, int], colour: Colour, text: str, size: float
) -> None:
    pen = ImageDraw.Draw(picture)
    thick = max(1, round(size / 8))
    x0, y0, x1, y1 = box[0] - thick, box[1] - thick, box[2] - 1 + thick, box[3] - 1 + thick
    pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(0, 0, 0))
    pen.rectangle((x0, y0, x1, y1), outline=colour, width=thick)
    letters = font(size)
    _, _, width, height = pen.textbbox((0, 0), text, font=letters)
    width, height = width + size / 2, height + size / 4
    x = min(max(0, x0), max(0, picture.width - width))
    y = y0 - height if y0 >= height else min(y1 + 1, picture.height - height)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + size / 4, y), text, fill=(0, 0, 0), font=letters)


def draw_legend(pen: ImageDraw.ImageDraw, x: float, y: float, size: float) -> float:
    """What the colours mean, its right end at `x`, its top at `y`; returns its left end."""
    for colour, word in ((FILLED, "filled in"), (SEEN, "seen")):
        x -= pen.textlength(word, font=font(size))
        pen.text((x, y), word, fill=INK, font=font(size))
        x -= size * 0.9
        pen.rectangle((x, y + size * 0.3, x + size * 0.6, y + size * 0.9), fill=colour)
        x -= size * 0.7
    return x


class TimeLine:
    """A strip that shows when each mark is there; x is time, each mark at once has a lane."""

    def __init__(self, findings: Findings, width: int) -> None:
        self._seconds = findings.seconds
        self._spans = findings.spans
        self._lanes = _lanes(findings.spans)
        self._lane_count = max(self._lanes, default=0) + 1
        self.width = width

    def x(self, index: int) -> float:
        """Where the frame begins, pixels from the strip's left."""
        return self._at(self._seconds[index])

    def _at(self, seconds: float) -> float:
        return self.width * seconds / (self._seconds[-1] or 1)

    def draw(self, height: int) -> Image.Image:
        """The lanes, `height` pixels high."""
        strip = Image.new("RGB", (self.width, height), RAIL)
        pen = ImageDraw.Draw(strip)
        lane_height = height / self._lane_count
        for span, lane in zip(self._spans, self._lanes, strict=True):
            top, bottom = lane * lane_height + 1, (lane + 1) * lane_height - 2
            self._bar(pen, span.first, span.last, top, bottom, SEEN)
            for index in span.filled:
                self._bar(pen, index, index, top, bottom, FILLED)
        return strip

    def _bar(
        self,
        pen: ImageDraw.ImageDraw,
        first: int,
        last: int,
        top: float,
        bottom: float,
        colour: Colour,
    ) -> None:
        left, right = round(self.x(first)), round(self.x(last + 1)) - 1
        pen.rectangle((left, top, max(left, right), max(top, bottom)), fill=colour)

    def draw_ticks(self, picture: Image.Image, x: int, y: int, size: float) -> None:
        """Seconds below a strip that was pasted at `x`, its lower edge at `y`."""
        pen = ImageDraw.Draw(picture)
        wanted = max(2, self.width / (6 * size))
        end = self._seconds[-1]
        step = next((tick for tick in TICKS_S if end / tick <= wanted), TICKS_S[-1])
        for number in range(int(end / step) + 1):
            at = x + self._at(number * step)
            pen.line((at, y, at, y + size / 3), fill=FAINT)
            text = f"{number * step:g} s"
            room = pen.textlength(text, font=font(size))
            left = min(max(at - room / 2, x), x + self.width - room)
            pen.text((left, y + size / 3), text, fill=FAINT, font=font(size))


def _lanes(spans: Sequence[Span]) -> list[int]:
    """For each span the first lane that is free when it begins."""
    ends: list[int] = []
    lanes = []
    for span in spans:
        free = (lane for lane, end in enumerate(ends) if end < span.first)
        lane = min(next(free, len(ends)), LANES - 1)
        if lane == len(ends):
            ends.append(span.last)
        ends[lane] = max(ends[lane], span.last)
        lanes.append(lane)
    return lanes
