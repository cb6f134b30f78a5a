"""Native planes of decoded pictures as numpy views: no copy, no conversion."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import av
import numpy as np
from av.video.format import VideoFormat
from numpy.typing import NDArray

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.frame import Box, Plane

# Packed and semi-planar formats and the planar one that holds exactly the same samples.
PLANAR_TWIN = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p210le": "yuv422p10le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "rgb48le": "gbrp16le",
    "rgba64le": "gbrap16le",
    "pal8": "gbrap",
    "monob": "gray",
    "monow": "gray",
}


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How a planar pixel format stores its samples.

    Attributes:
        name: libav's name, e.g. `yuv420p10le`.
        depth: bits per sample, 8 to 16.
        colour_planes: planes that carry the picture (an alpha plane behind them is left alone).
        step_x, step_y: luma samples per chroma sample, horizontally and vertically.
        rgb: True for planar RGB, whose planes are all full size.
    """

    name: str
    depth: int
    colour_planes: int
    step_x: int
    step_y: int
    rgb: bool

    @property
    def alpha(self) -> bool:
        """Whether there is a plane of transparency behind the picture's."""
        return has_alpha(self.name)

    @property
    def even_steps(self) -> tuple[int, int]:
        """A grid of luma samples, across and down, that chroma samples and 2x2 blocks lie on."""
        return max(2, self.step_x), max(2, self.step_y)

    @property
    def dtype(self) -> type[np.uint8 | np.uint16]:
        return np.uint8 if self.depth == 8 else np.uint16

    def plane_box(self, box: Box, plane: int) -> Box:
        """`box` (luma pixels, aligned to the chroma grid) in samples of `plane`, outwards."""
        if plane == 0 or self.rgb:
            return box
        sx, sy = self.step_x, self.step_y
        return Box(box.x0 // sx, box.y0 // sy, -(-box.x1 // sx), -(-box.y1 // sy))


def layout_of(name: str) -> PixelLayout:
    """The layout of a planar 8- to 16-bit format.

    Raises:
        InputError: the format is not planar, or its samples are not plain integers of this machine.
    """
    try:
        pixel_format = VideoFormat(name, 16, 16)
    except ValueError as error:
        raise _unsupported(name) from error
    components = pixel_format.components
    depths = {component.bits for component in components}
    planes = [component.plane for component in components]
    planar = planes == list(range(len(components))) or (
        pixel_format.is_rgb and sorted(planes) == list(range(len(components)))
    )
    foreign_order = pixel_format.is_big_endian != (sys.byteorder == "big") and max(depths) > 8
    floats = name.startswith(("gbrpf", "gbrapf", "grayf", "yaf"))
    if not planar or len(depths) != 1 or not 8 <= max(depths) <= 16 or foreign_order or floats:
        raise _unsupported(name)
    if name.startswith(("ya8", "ya16")) or pixel_format.is_bit_stream or pixel_format.has_palette:
        raise _unsupported(name)
    has_chroma = len(components) >= 3 and not pixel_format.is_rgb
    return PixelLayout(
        name=name,
        depth=max(depths),
        colour_planes=min(len(components), 3),
        step_x=16 // components[1].width if has_chroma else 1,
        step_y=16 // components[1].height if has_chroma else 1,
        rgb=pixel_format.is_rgb,
    )


def has_alpha(pixel_format: str) -> bool:
    """Whether a pixel format has transparency; palettes always may."""
    return PLANAR_TWIN.get(pixel_format, pixel_format).startswith(("yuva", "gbrap", "ya"))


def _unsupported(name: str) -> InputError:
    return InputError(
        f"pixel format {name} is not handled; convert the clip to planar YUV or RGB first",
        kind="unsupported",
    )


def plane_view(picture: av.VideoFrame, plane: int, layout: PixelLayout) -> Plane:
    """A view of one plane, (h_p, w_p), sharing memory with the picture.

    The view is only as writable as the picture: call `picture.make_writable()` before writing,
    because decoders keep their pictures as references for later ones.
    """
    source = picture.planes[plane]
    samples: Plane = np.frombuffer(memoryview(source), dtype=np.dtype(layout.dtype))
    stride = source.line_size // samples.itemsize
    return samples.reshape(-1, stride)[: source.height, : source.width]


def rounded_like(values: NDArray[np.float32], plane: Plane) -> Plane:
    """`values`, already in the plane's range, rounded to its samples."""
    whole = np.rint(values)
    return whole.astype(np.uint8) if plane.dtype == np.uint8 else whole.astype(np.uint16)
