"""Telling from pixels whether an overlay is there: its edges stand still while the scene moves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Plane
from sorawm_pipeline.snapshot import value

Floats = NDArray[np.float32]

MARGIN = 6
"""Pixels around a mark that are looked at too: detectors are a few pixels off."""

LONGEST = 96
"""Pixels of a region's long side; larger ones are averaged down, which changes no verdict."""

STRONG = 0.25
"""Share of the strongest edges' strength from which an edge counts."""

FAINT = 2.0
"""Strength, in 8-bit steps per pixel, below which edges are noise."""

PART_SHARE = 0.12
"""Share of an overlay's edges that a part of it must hold to be judged by itself."""

HOP = 5
"""Pixels that an animated part may hop in any direction."""

MOST_AGAINST, MOST_FOR = np.float32(-1.0), np.float32(1.5)
"""What one pixel can say, at most, of an overlay not being there and being there."""

HOPPED = (0.1, 0.75)
"""Levels between which a part may have hopped; above it is there, below there is nothing."""

ALIKE = 0.5
"""Correlation from which what is found beside a part's place is the part."""

MEMORY = 64
"""Pictures after which older ones begin to be forgotten."""


@value
@dataclass(frozen=True, slots=True)
class Region:
    """Where a mark is looked at.

    Attributes:
        box: stored-picture pixels, inside the picture.
        step: pixels averaged into one, in both directions.
        depth: bits per sample.
    """

    box: Box
    step: int
    depth: int

    @classmethod
    def around(cls, mark: Box, luma: Plane, depth: int) -> Region:
        box = mark.grown(MARGIN).clipped(luma.shape[1], luma.shape[0])
        return cls(box, max(1, -(-max(box.width, box.height) // LONGEST)), depth)

    def grey(self, luma: Plane) -> Floats:
        """The region of a luma plane, in 8-bit steps, float32 (h, w)."""
        cut = luma[self.box.y0 : self.box.y1, self.box.x0 : self.box.x1].astype(np.float32)
        if self.step > 1:
            size = max(1, cut.shape[1] // self.step), max(1, cut.shape[0] // self.step)
            cut = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.float32)
        if self.depth > 8:
            cut *= np.float32(2.0 ** (8 - self.depth))
        return cut

    def edges(self, luma: Plane) -> Floats:
        """Its gradient across and down, float32 (2, h, w), in 8-bit steps per pixel."""
        smooth = cv2.GaussianBlur(self.grey(luma), (3, 3), 0)
        edges = np.empty((2, *smooth.shape), np.float32)
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, edges[0], ksize=3, scale=0.125)
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, edges[1], ksize=3, scale=0.125)
        return edges


@dataclass(frozen=True)
class Part:
    """Edges of an overlay that come and go together, such as an icon or a word.

    Attributes:
        box: what they cover, stored-picture pixels.
        where: which pixels of the region, bool (h, w).
        within: rows and columns of the region that hold all of them.
    """

    box: Box
    where: NDArray[np.bool_]
    within: tuple[slice, slice]


@value
@dataclass(frozen=True, eq=False)
class Overlay:
    """The edges of one mark in one place, learnt from pictures in which it was seen.

    The mean gradient over time is the overlay's own (Dekel et al., "On the effectiveness of visible
    watermarks", CVPR 2017): edges of a moving scene average away.

    Attributes:
        region: where it is looked at.
        mean: gradient (2, h, w) of the region.
        pictures: how many it was learnt from.
    """

    region: Region
    mean: Floats
    pictures: int = 1

    def after(self, edges: Floats) -> Overlay:
        """What is known after one more picture (2, h, w) that holds the mark."""
        pictures = min(self.pictures + 1, MEMORY)
        mean = self.mean + (edges - self.mean) / np.float32(pictures)
        return Overlay(self.region, mean, pictures)

    def less(self, edges: Floats) -> Overlay:
        """It without what a picture (2, h, w) shows that does not hold the mark.

        Where the scene stands still, its edges stand in the mean as well.
        """
        return Overlay(self.region, self.mean - edges)

    @cached_property
    def _strength(self) -> Floats:
        return np.asarray(np.hypot(self.mean[0], self.mean[1]), np.float32)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Its parts; none if it has no edges that stand out."""
        strength = self._strength
        peak = float(np.percentile(strength, 98))
        if peak < FAINT:
            return ()
        strong = strength >= max(STRONG * peak, FAINT / 2)
        groups = _joined(strong)
        if len(groups) < 2:
            groups = _cells(strong)
        energy = [float(strength[group].sum()) for group in groups]
        return tuple(
            self._part(group)
            for group, share in zip(groups, energy, strict=True)
            if share >= PART_SHARE * sum(energy)
        )

    @cached_property
    def _divisor(self) -> Floats:
        return np.maximum(self._strength**2, 1e-6)

    @cached_property
    def _weights(self) -> list[tuple[NDArray[np.intp], Floats, np.float32]]:
        """For each part its pixels' flat indices, their weights, and the sum of these."""
        found = []
        for part in self.parts:
            at = np.flatnonzero(part.where)
            weights = np.square(self._strength.take(at))
            found.append((at, weights, weights.sum()))
        return found

    def _part(self, where: NDArray[np.bool_]) -> Part:
        rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
        step, origin = self.region.step, self.region.box
        x0, y0, x1, y1 = (int(n) for n in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        box = Box(
            origin.x0 + x0 * step,
            origin.y0 + y0 * step,
            origin.x0 + x1 * step,
            origin.y0 + y1 * step,
        )
        return Part(box.intersection(origin), where, (slice(y0, y1), slice(x0, x1)))

    def levels(self, edges: Floats) -> Floats:
        """How much of each part a picture holds: about 1 if it is there, about 0 if not.

        The picture's gradient is projected on the overlay's, pixel by pixel, and what a passing
        strong edge can say is bounded. A part that is not where it was is looked for beside, since
        animated ones hop.
        """
        products = edges * self.mean
        share = np.add(products[0], products[1], out=products[0])
        share /= self._divisor
        np.minimum(np.maximum(share, MOST_AGAINST, out=share), MOST_FOR, out=share)
        levels = [
            float(np.add.reduce(share.take(at) * weights) / total)
            for at, weights, total in self._weights
        ]
        for number, level in enumerate(levels):
            if HOPPED[0] < level < HOPPED[1]:
                levels[number] = max(level, self._beside(self.parts[number], edges))
        return np.array(levels, np.float32)

    def _beside(self, part: Part, edges: Floats) -> float:
        """The level of a part moved by up to HOP pixels, 0 if what is there only resembles it."""
        reach = -(-HOP // self.region.step)
        where = part.where[part.within]
        template = self.mean[:, *part.within] * where
        _, height, width = edges.shape
        padded = np.zeros((2, height + 2 * reach, width + 2 * reach), np.float32)
        padded[:, reach:-reach, reach:-reach] = edges
        rows, columns = (slice(cut.start, cut.stop + 2 * reach) for cut in part.within)
        wide = padded[:, rows, columns]
        shares = sum(
            cv2.matchTemplate(one, wanted, cv2.TM_CCORR)
            for one, wanted in zip(wide, template, strict=True)
        )
        _, best, _, (x, y) = cv2.minMaxLoc(shares)
        height, width = where.shape
        here = wide[:, y : y + height, x : x + width][:, where]
        whole = float((template**2).sum())
        alike = best / max(1e-6, np.sqrt(whole * float((here**2).sum())))
        return best / whole if alike >= ALIKE else 0.0


def _joined(strong: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The strong edges in groups with gaps between them, such as an icon and a word."""
    reach = max(3, min(strong.shape) // 8) | 1
    joined = cv2.dilate(strong.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    return [strong & (labels == label) for label in range(1, count)]


def _cells(strong: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The strong edges cut into squares along the long side, for want of gaps."""
    height, width = strong.shape
    long, short = max(height, width), max(1, min(height, width))
    cells = max(1, round(long / short))
    labels = np.arange(long) * cells // long
    cell = np.broadcast_to(labels if width >= height else labels[:, None], strong.shape)
    return [strong & (cell == label) for label in range(cells)]
