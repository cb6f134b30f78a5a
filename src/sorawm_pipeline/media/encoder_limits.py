"""Pictures that an encoder refuses, spoils memory with, or never returns from."""

from __future__ import annotations

from sorawm_pipeline.media.clip import ClipInfo
from sorawm_pipeline.media.planes import PixelLayout

SMALLEST = {"libx265": 64, "libsvtav1": 64}
"""Least width and height, pixels, of encoders that need a whole block.

x265 4.1 refuses less than 16 and writes beyond its memory where pictures are 34 to 48 wide; SVT-AV1
4.1 does not return from pictures of 16x1024.
"""

WHOLE_CHROMA = ("libx264", "libx265")
"""Encoders that want as many chroma samples for every luma sample."""

_RESERVED = 3
X265_COLOURS = {"primaries": range(13), "transfer": range(19), "matrix": range(16)}
"""Code points of ITU-T H.273 that x265 takes, but for the reserved one."""


def refusal(encoder: str, clip: ClipInfo, layout: PixelLayout) -> str | None:
    """Why a software encoder is not given a clip; None if it takes it.

    Args:
        encoder: libav's name.
        clip: what is to be encoded.
        layout: of the pictures as the encoder gets them.
    """
    size = f"{clip.width}x{clip.height}"
    least = SMALLEST.get(encoder, 1)
    if min(clip.width, clip.height) < least:
        return f"{encoder} needs {least} pixels each way, not {size}"
    if encoder in WHOLE_CHROMA and (clip.width % layout.step_x or clip.height % layout.step_y):
        return f"{encoder} does not take {layout.name} of {size}, an odd size"
    if encoder == "libx265":
        for name, taken in X265_COLOURS.items():
            tag = getattr(clip.colour, name)
            if tag == _RESERVED or tag not in taken:
                return f"{encoder} does not write colour {name} number {tag}"
    return None
