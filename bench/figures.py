"""How near a restored region is to the truth: figures pooled over all marked pixels of a scene.

Every function takes planes of one run, (n, h, w) uint8, and returns sums; `Sums` adds them over
runs and turns them into the figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

TINY = 0.5
"""Added above and below in ratios, grey levels, so that two nearly flat pictures compare as 1."""
SEAM_BAND = (-1.5, 4.5)
"""Signed pixels from the mark's outline: its edge, and the edge of a hole 3 px wider."""
PATCH_BAND = (-2.0, 2.0)
"""The same for the outline of what the program replaces."""


@dataclass
class Sums:
    """Sums over marked pixels, added up over runs.

    Attributes:
        squared, samples: squared error and number of samples of Y, U and V.
        similar, windows: SSIM at marked pixels, and how many.
        seam: across the mark's outline, gradient of the result, of the truth, number of samples.
        patch_seam: the same across the outline of the patch.
        change: flow-compensated difference to the frame before, of the result, of the truth, of
            the compressed truth, number of samples.
    """

    squared: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    samples: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    similar: float = 0.0
    windows: float = 0.0
    seam: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    patch_seam: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    change: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))

    def __iadd__(self, other: Self) -> Self:
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        return self

    def figures(self) -> dict[str, float]:
        """dB, SSIM, and ratios to the truth (flicker_floor: to the compressed truth)."""
        each = [psnr(s, n) for s, n in zip(self.squared, self.samples, strict=True)]
        return {
            "psnr_inside": each[0],
            "psnr_inside_yuv": (6 * each[0] + each[1] + each[2]) / 8,
            "ssim_inside": self.similar / max(1.0, self.windows),
            "seam": _ratio(self.seam[0], self.seam[1], self.seam[2]),
            "seam_patch": _ratio(self.patch_seam[0], self.patch_seam[1], self.patch_seam[2]),
            "flicker": _ratio(self.change[0], self.change[1], self.change[3]),
            "flicker_floor": _ratio(self.change[0], self.change[2], self.change[3]),
        }


def psnr(squared: float, samples: float) -> float:
    """Decibels of 8-bit samples from their summed squared error; at most 99."""
    return float(min(99.0, 10 * np.log10(255**2 * max(1.0, samples) / max(float(squared), 1e-9))))


def _ratio(result: float, truth: float, samples: float) -> float:
    return float((result + TINY * samples) / (truth + TINY * samples)) if samples else 1.0


def squared_error(result: Pixels, truth: Pixels, inside: Bools) -> tuple[float, float]:
    """Summed squared error and number of samples inside."""
    difference = (result.astype(np.int32) - truth)[inside]
    return float((difference.astype(np.int64) ** 2).sum()), float(difference.size)


def ssim_map(one: Pixels, other: Pixels) -> Floats:
    """SSIM at every pixel of (h, w), Gaussian window of sigma 1.5.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    a, b = one.astype(np.float32), other.astype(np.float32)

    def blur(values: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    upper = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return np.asarray(upper / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)), np.float32)


@dataclass(frozen=True)
class Outline:
    """A band along a mask's edge and the direction across it, one (h, w) each."""

    band: Bools
    across_x: Floats
    across_y: Floats

    @classmethod
    def of(cls, inside: Bools, reach: tuple[float, float]) -> Outline:
        """The band from `reach[0]` (negative: inside) to `reach[1]` pixels from the edge."""
        mask = inside.astype(np.uint8)
        out = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        within = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # the edge lies between two pixels, half a pixel from either
        signed = np.where(mask > 0, 0.5 - within, out - 0.5).astype(np.float32)
        band = (signed >= reach[0]) & (signed <= reach[1])
        down, right = np.gradient(cv2.GaussianBlur(signed, (0, 0), 1.0))
        length = np.maximum(np.hypot(right, down), 1e-6)
        return cls(band, (right / length).astype(np.float32), (down / length).astype(np.float32))

    def steepness(self, luma: Pixels) -> float:
        """Summed |derivative| across the edge, grey levels per pixel, over the band."""
        down, right = np.gradient(luma.astype(np.float32))
        return float(np.abs(right * self.across_x + down * self.across_y)[self.band].sum())


def flow_to_before(now: Pixels, before: Pixels) -> Floats:
    """Where each pixel of `now` (h, w) was in `before`: x and y, (2, h, w), for cv2.remap.

    Kroeger et al., "Fast optical flow using dense inverse search", 2016.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = dis.calc(now, before, None)
    height, width = now.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x + flow[..., 0], y + flow[..., 1]])


def change(now: Pixels, before: Pixels, places: Floats, inside: Bools) -> float:
    """Summed |now - before moved along|, grey levels, over the pixels inside."""
    moved = cv2.remap(
        before.astype(np.float32),
        places[0],
        places[1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return float(np.abs(now.astype(np.float32) - moved)[inside].sum())


@dataclass(frozen=True)
class Truth:
    """What results of one run are compared with; flows and outlines are found once.

    Attributes:
        planes: true Y (n, h, w), U and V (n, h/2, w/2).
        floor: Y of the compressed truth, (n, h, w).
        inside: marked pixels, (n, h, w).
        chroma: marked chroma samples, (n, h/2, w/2).
        outlines: of the mark, for each frame.
        patch: outline of what the program replaces.
        places: where pixels were in the frame before, for each frame; None after a cut or at first.
    """

    planes: tuple[Pixels, Pixels, Pixels]
    floor: Pixels
    inside: Bools
    chroma: Bools
    outlines: list[Outline]
    patch: Outline
    places: list[Floats | None]

    @classmethod
    def of(
        cls,
        planes: tuple[Pixels, Pixels, Pixels],
        floor: Pixels,
        inside: Bools,
        patch: Bools,
        cuts: Iterable[int] = (),
    ) -> Truth:
        """Prepare a run. `patch` (h, w) is what the program replaces; `cuts` count in the run."""
        luma, shots = planes[0], set(cuts)
        n, height, width = inside.shape
        blocks = inside.reshape(n, height // 2, 2, width // 2, 2)
        chroma = np.asarray(blocks.any(axis=(2, 4)), np.bool_)
        places: list[Floats | None] = [
            flow_to_before(luma[i], luma[i - 1]) if i and i not in shots else None for i in range(n)
        ]
        outlines = [Outline.of(mask, SEAM_BAND) for mask in inside]
        return cls(planes, floor, inside, chroma, outlines, Outline.of(patch, PATCH_BAND), places)

    def judged(self, result: tuple[Pixels, Pixels, Pixels]) -> Sums:
        """The sums of a result, which may be of the run's first frames only."""
        sums, luma = Sums(), self.planes[0]
        count = len(result[0])
        masks = self.inside, self.chroma, self.chroma
        for index, (plane, true, mask) in enumerate(zip(result, self.planes, masks, strict=True)):
            sums.squared[index], sums.samples[index] = squared_error(
                plane, true[:count], mask[:count]
            )
        for i in range(count):
            now, inside = result[0][i], self.inside[i]
            sums.similar += float(ssim_map(now, luma[i])[inside].sum())
            sums.windows += float(inside.sum())
            for outline, total in ((self.outlines[i], sums.seam), (self.patch, sums.patch_seam)):
                steep = outline.steepness(now), outline.steepness(luma[i]), outline.band.sum()
                total += np.array(steep, np.float64)
            places = self.places[i]
            if places is not None:
                lumas = result[0], luma, self.floor
                moved = [change(p[i], p[i - 1], places, inside) for p in lumas]
                sums.change += np.array([*moved, inside.sum()], np.float64)
        return sums
