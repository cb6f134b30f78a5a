"""From the stored picture to the displayed one: rotation, mirroring, sample aspect ratio."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box


@dataclass(frozen=True, slots=True)
class Display:
    """How a stored picture of `width` x `height` pixels is shown.

    Attributes:
        width, height: the stored picture.
        transpose: rows become columns before flipping (rotations by 90 and 270 degrees).
        flip_x, flip_y: mirror the shown picture left-right, top-bottom.
        sample_aspect: width of a stored pixel divided by its height.
    """

    width: int
    height: int
    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False
    sample_aspect: Fraction = Fraction(1)

    @classmethod
    def from_matrix(
        cls, width: int, height: int, matrix: bytes | None, sample_aspect: Fraction
    ) -> Display:
        """From libav's display matrix (nine 32-bit integers, 16.16 and 2.30 fixed point).

        A matrix that is not one of the eight right-angled orientations counts as upright, as most
        players treat it.
        """
        if matrix is None or len(matrix) < 36:
            return cls(width, height, sample_aspect=sample_aspect)
        a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
        if a and d and not b and not c:
            return cls(width, height, False, a < 0, d < 0, sample_aspect)
        if b and c and not a and not d:
            return cls(width, height, True, c < 0, b < 0, sample_aspect)
        return cls(width, height, sample_aspect=sample_aspect)

    @property
    def _stretched_width(self) -> int:
        return max(1, round(self.width * self.sample_aspect))

    @property
    def shown_width(self) -> int:
        return self.height if self.transpose else self._stretched_width

    @property
    def shown_height(self) -> int:
        return self._stretched_width if self.transpose else self.height

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn a stored-orientation image (h, w, channels) upright; a view, not a copy."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def to_stored(
        self, box: tuple[float, float, float, float], shown: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """A box on an upright image of size `shown` (width, height) in stored-picture pixels."""
        x0, x1 = sorted(_mirrored(v / shown[0], self.flip_x) for v in (box[0], box[2]))
        y0, y1 = sorted(_mirrored(v / shown[1], self.flip_y) for v in (box[1], box[3]))
        if self.transpose:
            x0, y0, x1, y1 = y0, x0, y1, x1
        return x0 * self.width, y0 * self.height, x1 * self.width, y1 * self.height

    def to_stored_box(self, box: tuple[float, float, float, float], shown: tuple[int, int]) -> Box:
        """As `to_stored`, rounded to whole pixels and inside the stored picture."""
        x0, y0, x1, y1 = (round(corner) for corner in self.to_stored(box, shown))
        return Box(x0, y0, x1, y1).clipped(self.width, self.height)

    def to_shown(self, box: Box) -> Box:
        """A stored-picture box in pixels of the displayed picture, rounded outwards."""
        xs = (box.x0 / self.width, box.x1 / self.width)
        ys = (box.y0 / self.height, box.y1 / self.height)
        if self.transpose:
            xs, ys = ys, xs
        x0, x1 = sorted(_mirrored(v, self.flip_x) * self.shown_width for v in xs)
        y0, y1 = sorted(_mirrored(v, self.flip_y) * self.shown_height for v in ys)
        tiny = 1e-6
        return Box(
            int(np.floor(x0 + tiny)),
            int(np.floor(y0 + tiny)),
            int(np.ceil(x1 - tiny)),
            int(np.ceil(y1 - tiny)),
        )


def _mirrored(fraction: float, flip: bool) -> float:
    return 1.0 - fraction if flip else fraction
