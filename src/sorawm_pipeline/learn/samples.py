"""Training pictures made on the fly: the mark over backgrounds, and what only resembles it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from sorawm_pipeline.learn import backgrounds
from sorawm_pipeline.learn.backgrounds import Pixels
from sorawm_pipeline.learn.clips import through_codec
from sorawm_pipeline.learn.lettering import fonts, letters
from sorawm_pipeline.learn.mark import VISIBLE, Floats, Mark, extent

Box = tuple[float, float, float, float]

SMALLEST, LARGEST = 20, 150  # long side of a mark in pixels of the network's input
_THINNEST = 7  # short side of a mark in pixels of the network's input
_FAINTEST = 8  # mean difference in levels by which a mark must stand out
_WORDS = """Live News today Subscribe the and with Channel REC 00:12:45 2024-06-18 Free Sale Open
    Coffee Stop Exit Menu Play Settings Follow Share Save Home Search Music 24 100% HD 4K Photo
    Studio Video Story Score START Hotel City Police Taxi
""".split()  # noqa: SIM905 - a list of them would fill a page
_PRESETS = ("ultrafast", "veryfast", "medium")


@dataclass(slots=True)
class Source:
    """Makes pictures; the same seed gives the same ones.

    Attributes:
        marks: the mark, in each of its variants.
        rng: every choice comes from it.
        pictures: backgrounds that are photographs or frames.
        own_share: how often one of `pictures` is taken instead of a computed background.
        pool: computed backgrounds, renewed bit by bit.
    """

    marks: Sequence[Mark]
    rng: np.random.Generator
    pictures: Sequence[Pixels] = ()
    own_share: float = 0.15
    pool: list[Pixels] = field(default_factory=list)

    def sample(self, width: int, height: int, *, marked: bool) -> tuple[Pixels, list[Box]]:
        """Make one picture (height, width, 3) uint8 RGB, sides even, and the boxes of its marks."""
        rng = self.rng
        scale = float(rng.choice([1, 1, 1.5, 2]))  # native pixels for each pixel of the input
        wide, high = (int(side * scale) // 2 * 2 for side in (width, height))
        picture = self._background(wide, high)
        for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.4, 0.3, 0.2, 0.1]))):
            self._decoy(picture, scale)
        before = picture.copy()
        boxes: list[Box] = []
        for _ in range(int(rng.choice([1, 2], p=[0.9, 0.1])) if marked else 0):
            self._place(picture, scale, boxes)
        shot = self._damaged(before, picture)
        if scale != 1:
            how = cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
            shot = np.asarray(cv2.resize(shot, (width, height), interpolation=how), np.uint8)
        x, y = width / wide, height / high
        return shot, [(b[0] * x, b[1] * y, b[2] * x, b[3] * y) for b in boxes]

    def _background(self, width: int, height: int) -> Floats:
        rng = self.rng
        if self.pictures and rng.random() < self.own_share:
            source = self.pictures[int(rng.integers(len(self.pictures)))]
        else:
            if len(self.pool) < 96 or rng.random() < 0.05:
                self.pool.append(backgrounds.computed(rng))
                del self.pool[:-96]
            source = self.pool[int(rng.integers(len(self.pool)))]
        tall, across = source.shape[:2]
        fit = min(across / width, tall / height)
        zoom = min(fit, float(np.exp(rng.uniform(np.log(0.4), np.log(2)))))
        w, h = max(8, int(width * zoom)), max(8, int(height * zoom))
        x, y = int(rng.integers(across - w + 1)), int(rng.integers(tall - h + 1))
        region = np.asarray(source[y : y + h, x : x + w], np.float32)
        how = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
        picture = cv2.resize(region, (width, height), interpolation=how)
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
        if rng.random() < 0.3:
            picture = picture[..., rng.permutation(3)]
        chance = rng.random()
        if chance < 0.12:  # overexposed
            picture = picture * rng.uniform(1.2, 2) + rng.uniform(0, 60)
        elif chance < 0.24:  # dark
            picture = picture * rng.uniform(0.15, 0.7)
        elif chance < 0.4:
            picture = (picture - 128) * rng.uniform(0.5, 1.3) + 128 + rng.uniform(-30, 30)
        return np.ascontiguousarray(np.clip(picture, 0, 255), np.float32)

    def _place(self, picture: Floats, scale: float, boxes: list[Box]) -> None:
        """Paste the mark where no other one is, if it stands out there."""
        rng = self.rng
        mark = self.marks[int(rng.integers(len(self.marks)))]
        mark = mark.scaled(self._factor(mark, picture, scale))
        if rng.random() < 0.2:
            soft = cv2.GaussianBlur(mark.alpha, (0, 0), rng.uniform(0.3, 0.8) * scale)
            mark = Mark(soft.astype(np.float32), mark.colour)
        high, wide = mark.alpha.shape
        for _ in range(4):
            x = int(rng.integers(max(1, picture.shape[1] - wide + 1)))
            y = int(rng.integers(max(1, picture.shape[0] - high + 1)))
            apart = all(x + wide < b[0] or x > b[2] or y + high < b[1] or y > b[3] for b in boxes)
            opacity = 1.0 if rng.random() < 0.25 else rng.uniform(0.4, 1)
            if apart and paste(picture, mark, x, y, opacity):
                x0, y0, x1, y1 = extent(mark.alpha)
                boxes.append((x + x0, y + y0, x + x1, y + y1))
                return

    def _factor(self, mark: Mark, picture: Floats, scale: float) -> float:
        high, wide = mark.alpha.shape
        most = min(
            LARGEST * scale / max(high, wide),
            0.92 * picture.shape[1] / wide,
            0.92 * picture.shape[0] / high,
        )
        least = max(SMALLEST * scale / max(high, wide), _THINNEST * scale / min(high, wide))
        return float(np.exp(self.rng.uniform(np.log(min(least, most)), np.log(most))))

    def _decoy(self, picture: Floats, scale: float) -> None:
        """Paste something that is not the mark: a word, a shape, or a part of the mark."""
        rng = self.rng
        mark = self.marks[int(rng.integers(len(self.marks)))]
        kind = rng.random()
        if kind < 0.45:
            decoy = self._word(mark)
        elif kind < 0.75:
            decoy = self._shape(mark)
        else:
            decoy = self._part(mark)
        if min(decoy.alpha.shape) < 3:
            return
        decoy = decoy.scaled(self._factor(decoy, picture, scale))
        x = int(rng.integers(-decoy.alpha.shape[1] // 3, picture.shape[1]))
        y = int(rng.integers(-decoy.alpha.shape[0] // 3, picture.shape[0]))
        paste(picture, decoy, x, y, rng.uniform(0.4, 1))

    def _ink(self, mark: Mark) -> Floats:
        """One of the mark's own colours, or any."""
        if self.rng.random() < 0.6:
            y, x = (int(self.rng.integers(side)) for side in mark.alpha.shape)
            seen = mark.alpha[y, x] > VISIBLE
            return np.asarray(mark.colour[y, x] if seen else mark.colour.max((0, 1)), np.float32)
        return self.rng.uniform(0, 255, 3).astype(np.float32)

    def _word(self, mark: Mark) -> Mark:
        rng = self.rng
        word = str(rng.choice(_WORDS))
        if rng.random() < 0.5:
            word = "".join(rng.choice(list("abcdefghijklmnoprstuvwyz"), int(rng.integers(2, 9))))
            word = word.title() if rng.random() < 0.6 else word.upper()
        alpha = letters(word, fonts()[int(rng.integers(len(fonts())))])
        if rng.random() < 0.4:  # on a plate
            plate = np.pad(alpha, max(4, alpha.shape[0] // 3))
            colour = np.where(plate[..., None] > 0.5, self._ink(mark), self._ink(mark))
            return Mark(np.ones_like(plate), colour.astype(np.float32))
        return _flat(alpha, self._ink(mark))

    def _shape(self, mark: Mark) -> Mark:
        rng = self.rng
        alpha = np.zeros((96, int(rng.integers(64, 260))), np.float32)
        across = alpha.shape[1]
        for _ in range(int(rng.integers(1, 4))):
            x, y, radius = (int(v) for v in rng.integers(20, 76, 3))
            line = int(rng.choice([-1, -1, 5, 10]))
            if rng.random() < 0.5:
                cv2.circle(alpha, (x * across // 96, y), radius // 2, 1.0, line, cv2.LINE_AA)
            elif rng.random() < 0.5:
                cv2.rectangle(alpha, (6, 6), (across - 7, 89), 1.0, line, cv2.LINE_AA)
            else:
                corners = rng.uniform(0, [across - 1, 95], (int(rng.integers(3, 8)), 2))
                cv2.fillPoly(alpha, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
        return _flat(alpha, self._ink(mark))

    def _part(self, mark: Mark) -> Mark:
        """At most half of the mark along its longer side."""
        high, wide = mark.alpha.shape
        share = self.rng.uniform(0.2, 0.45)
        start = 0 if self.rng.random() < 0.5 else 1 - share
        if wide >= high:
            return mark.cropped(int(start * wide), 0, int((start + share) * wide), high)
        return mark.cropped(0, int(start * high), wide, int((start + share) * high))

    def _damaged(self, before: Floats, picture: Floats) -> Pixels:
        """As a codec leaves it: H.264 after the scene without the mark, JPEG, or untouched."""
        rng = self.rng
        if rng.random() < 0.15:
            picture = picture + rng.normal(0, rng.uniform(1, 8), picture.shape).astype(np.float32)
        shot = np.clip(picture, 0, 255).astype(np.uint8)
        chance = rng.random()
        if chance < 0.3:
            first = np.roll(np.clip(before, 0, 255).astype(np.uint8), int(rng.integers(9)), 1)
            frames = [first, shot, shot] if rng.random() < 0.5 else [shot]
            crf, preset = int(rng.integers(16, 34)), str(rng.choice(_PRESETS))
            return through_codec(frames, "h264", crf, preset)
        if chance < 0.8:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))]
            stored = cv2.imencode(".jpg", shot, quality)[1]
            return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)
        return shot


def paste(picture: Floats, mark: Mark, x: int, y: int, opacity: float) -> bool:
    """Blend a mark into RGB float `picture` (h, w, 3) at (x, y), in place.

    Returns False, and changes nothing, where it would hardly stand out.
    """
    high, wide = mark.alpha.shape
    bottom, right = min(high, picture.shape[0] - y), min(wide, picture.shape[1] - x)
    cut = np.s_[max(0, -y) : max(0, bottom), max(0, -x) : max(0, right)]
    alpha = mark.alpha[cut]
    if not alpha.size:
        return False
    x, y = max(0, x), max(0, y)
    under = picture[y : y + alpha.shape[0], x : x + alpha.shape[1]]
    cover = (alpha * np.float32(opacity))[..., None]
    over = under * (1 - cover) + mark.colour[cut] * cover
    solid = alpha > 0.4
    if not solid.any() or np.abs(over - under)[solid].mean() < _FAINTEST:
        return False
    under[...] = over
    return True


def _flat(alpha: Floats, ink: Floats) -> Mark:
    return Mark(alpha, np.broadcast_to(ink, (*alpha.shape, 3)).astype(np.float32))
