"""The things that flow through the corridor: boxes, marks, patches, frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.snapshot import value

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@value
@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle in pixels: x0 <= x < x1 to the right, y0 <= y < y1 downwards."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0 if self.x1 > self.x0 else 0

    @property
    def height(self) -> int:
        return self.y1 - self.y0 if self.y1 > self.y0 else 0

    @property
    def area(self) -> int:
        across, down = self.x1 - self.x0, self.y1 - self.y0
        return across * down if across > 0 and down > 0 else 0

    def grown(self, pixels: int) -> Box:
        return Box(self.x0 - pixels, self.y0 - pixels, self.x1 + pixels, self.y1 + pixels)

    def clipped(self, width: int, height: int) -> Box:
        """The part inside a picture of `width` x `height`; empty (area 0) when there is none."""
        x0, y0 = min(max(self.x0, 0), width), min(max(self.y0, 0), height)
        return Box(x0, y0, max(x0, min(self.x1, width)), max(y0, min(self.y1, height)))

    def aligned(self, step_x: int, step_y: int) -> Box:
        """The smallest box around this one whose corners lie on a grid (of chroma samples)."""
        return Box(
            self.x0 // step_x * step_x,
            self.y0 // step_y * step_y,
            -(-self.x1 // step_x) * step_x,
            -(-self.y1 // step_y) * step_y,
        )

    def intersection(self, other: Box) -> Box:
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(x0, y0, max(x0, min(self.x1, other.x1)), max(y0, min(self.y1, other.y1)))

    def shared(self, other: Box) -> int:
        """Area of the intersection."""
        # Asked for every two frames near each other: four calls of min and max would double it.
        x0, y0, x1, y1 = self.x0, self.y0, self.x1, self.y1
        if other.x0 > x0:
            x0 = other.x0
        if other.x1 < x1:
            x1 = other.x1
        if other.y0 > y0:
            y0 = other.y0
        if other.y1 < y1:
            y1 = other.y1
        return (x1 - x0) * (y1 - y0) if x0 < x1 and y0 < y1 else 0

    def union(self, other: Box) -> Box:
        """The smallest box around both."""
        return Box(
            min(self.x0, other.x0),
            min(self.y0, other.y0),
            max(self.x1, other.x1),
            max(self.y1, other.y1),
        )

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1; 0 when either box is empty."""
        shared = self.shared(other)
        if not shared:
            return 0.0
        own = (self.x1 - self.x0) * (self.y1 - self.y0)
        return shared / (own + (other.x1 - other.x0) * (other.y1 - other.y0) - shared)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Its rows and columns in an array (h, w) of `outer`, which it lies in."""
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0),
            slice(self.x0 - outer.x0, self.x1 - outer.x0),
        )

    def as_tuple(self) -> tuple[int, int, int, int]:
        return self.x0, self.y0, self.x1, self.y1


@value
@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The pixels that a mark covers. Two masks are the same only if they are one object.

    Attributes:
        box: in pixels of the stored picture.
        pixels: uint8 (h, w), 255 where covered, else 0.
    """

    box: Box
    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.pixels.shape != (self.box.height, self.box.width):
            raise ValueError("a mask has the shape of its box")


@value
@dataclass(frozen=True, slots=True)
class Mark:
    """One visible mark on one frame.

    Attributes:
        box: where it is, in pixels of the stored (not rotated) picture.
        confidence: 0 to 1, the detector's own figure; a filled mark has its neighbours' mean.
        filled: True when no detector saw it and it was concluded from the frames around it.
        given: True when the user named its place.
        mask: the pixels it covers, if they are known better than its box tells.
    """

    box: Box
    confidence: float
    filled: bool = False
    given: bool = False
    mask: Mask | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Patch:
    """Pixels to write into a frame's native planes.

    Attributes:
        box: aligned to the chroma grid (or cut by the picture's edge), stored-picture pixels.
        planes: one array per patched plane, (h_p, w_p), of the picture's own dtype; rows and
            columns are those of the plane, so chroma is smaller than luma where it is subsampled.
        alpha: one uint16 array per plane, same shape, 0 (keep the original bit for bit) to 256
            (write the patch).
        variance: how far the first plane may be off, (h, w) in squared 8-bit steps; None where
            nobody can tell.
    """

    box: Box
    planes: tuple[Plane, ...]
    alpha: tuple[NDArray[np.uint16], ...]
    variance: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if [p.shape for p in self.planes] != [a.shape for a in self.alpha]:
            raise ValueError("a patch needs one alpha of the same shape for each plane")


@dataclass(slots=True)
class Frame:
    """One picture on its way through the corridor. It has one owner at a time.

    Attributes:
        index: position in the clip from 0, the only ordering key.
        pts: presentation time in ticks of the clip's time base, as decoded.
        duration: in the same ticks, 0 when the container does not say.
        picture: the decoded picture in its own pixel format; only the encode stage writes to it.
        marks: what was found on it.
        patches: what is to be written over it.
        on_device: the same picture on the GPU that decoded it, until the detector is done with it.
    """

    index: int
    pts: int
    duration: int
    picture: av.VideoFrame
    marks: list[Mark] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    on_device: av.VideoFrame | None = None
