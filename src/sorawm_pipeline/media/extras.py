"""What is told of a picture beside its samples and colours: fields, chroma sites, HDR10 metadata.

An encoder has its own words for each, or none; what it cannot say is told by `losses`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
from av.buffer import Buffer
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sorawm_pipeline.media.planes import PLANAR_TWIN, PixelLayout, has_alpha, layout_of

PROGRESSIVE, TOP_FIRST, BOTTOM_FIRST, TOP_CODED, BOTTOM_CODED = 1, 2, 3, 4, 5
"""libav's field orders; the last two are coded in one order and shown in the other."""

FIELD_CODERS = ("libx264", "prores_ks", "ffv1", "mpeg2video", "mpeg4")
SITES = {(1, 2): "left", (2, 2): "center", (1, 1): "topleft", (2, 1): "top"}
"""libav's names of chroma sites by Matroska's numbers, across and down."""

HDR10_MUXERS = ("mp4", "mov")
"""Whose files get HDR10 metadata beside the stream (`hdr_boxes.py`)."""

ASSUMED_SITE = {"libx264": "left", "libx265": "left"}
"""What decoders assume where such a stream does not say."""

BESIDE = "alpha_mode"
"""Matroska's tag of VP8 and VP9 streams whose transparency is a stream of its own."""

OTHERS = {
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "SPHERICAL": "the projection of a spherical picture",
    "STEREO3D": "the arrangement of a stereo picture",
    "ICC_PROFILE": "the colour profile",
    "AFD": "the active format description",
}


@dataclass(frozen=True, slots=True)
class Mastering:
    """SMPTE ST 2086: the display that a picture was graded on.

    Attributes:
        primaries: red, green, blue and white, (x, y) each, CIE 1931.
        luminance: darkest and brightest, candela per square metre.
    """

    primaries: tuple[tuple[Fraction, Fraction], ...]
    luminance: tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Extras:
    """What a source tells; `light` is MaxCLL and MaxFALL, `others` what no encoder here writes."""

    field_order: int = 0
    interlaced: bool = False
    chroma_site: str | None = None
    mastering: Mastering | None = None
    light: tuple[int, int] | None = None
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, stream: VideoStream, picture: VideoFrame) -> Extras:
        """From a stream and its first picture."""
        return cls(
            field_order=stream.codec_context.field_order,
            interlaced=picture.interlaced_frame,
            chroma_site=_chroma_site(stream),
            mastering=_mastering(picture),
            light=_light(picture),
            others=(
                *(words for name, words in OTHERS.items() if picture.side_data.get(name)),
                *(("transparency beside the picture",) if stream.metadata.get(BESIDE) else ()),
            ),
        )

    def tell(self, encoder: str, context: VideoCodecContext, options: dict[str, str]) -> None:
        """Say all of it to an encoder that is not open yet: in its context, or its options."""
        if self.interlaced:
            context.field_order = self.field_order
            if encoder in FIELD_CODERS:
                context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        if self.chroma_site is not None and self.chroma_site != ASSUMED_SITE.get(encoder):
            options["chroma_sample_location"] = self.chroma_site
        for name, words in self._parameters(encoder).items():
            before = options.get(name)
            options[name] = f"{before}:{words}" if before else words

    @property
    def hdr10(self) -> bool:
        return self.mastering is not None or self.light is not None

    def losses(
        self, encoder: str, muxer: str, source: PixelLayout, target_format: str
    ) -> list[str]:
        """In words, what the result does not tell any more."""
        lost = []
        depth = layout_of(PLANAR_TWIN.get(target_format, target_format)).depth
        if depth < source.depth:
            lost.append(f"depth: {encoder} takes {depth} of {source.depth} bits")
        if self.interlaced and encoder not in FIELD_CODERS:
            lost.append(f"fields: {encoder} codes whole pictures; both fields are in each")
        if self.hdr10 and muxer not in HDR10_MUXERS and not self._parameters(encoder):
            lost.append(f"mastering display and light levels: {encoder} does not write them")
        if source.alpha and not has_alpha(target_format):
            lost.append(f"transparency: {encoder} has none of this kind")
        return lost + [f"{words}: not written by any encoder here" for words in self.others]

    def _parameters(self, encoder: str) -> Mapping[str, str]:
        match encoder:
            case "libx265" | "libx264":
                found = _x26x(self.mastering, self.light, encoder)
                return {encoder.removeprefix("lib") + "-params": found} if found else {}
            case "libsvtav1":
                found = _svt(self.mastering, self.light)
                return {"svtav1-params": found} if found else {}
        return {}


def _x26x(mastering: Mastering | None, light: tuple[int, int] | None, encoder: str) -> str:
    """In steps of 0.00002 and 0.0001 candela, green first, as in the stream itself."""
    names = ("master-display", "max-cll") if encoder == "libx265" else ("mastering-display", "cll")
    words = []
    if mastering is not None:
        x = [tuple(round(v * 50_000) for v in pair) for pair in mastering.primaries]
        red, green, blue, white = (f"({a},{b})" for a, b in x)
        low, high = (round(v * 10_000) for v in mastering.luminance)
        words.append(f"{names[0]}=G{green}B{blue}R{red}WP{white}L({high},{low})")
    if light is not None:
        words.append(f"{names[1]}={light[0]},{light[1]}")
    return ":".join(words)


def _svt(mastering: Mastering | None, light: tuple[int, int] | None) -> str:
    words = []
    if mastering is not None:
        red, green, blue, white = (
            f"({float(x):.8f},{float(y):.8f})" for x, y in mastering.primaries
        )
        low, high = (f"{float(v):.8f}" for v in mastering.luminance)
        words.append(f"mastering-display=G{green}B{blue}R{red}WP{white}L({high},{low})")
    if light is not None:
        words.append(f"content-light={light[0]},{light[1]}")
    return ":".join(words)


def _mastering(picture: VideoFrame) -> Mastering | None:
    """From libav's AVMasteringDisplayMetadata: ten rationals, and whether they were told."""
    data = picture.side_data.get("MASTERING_DISPLAY_METADATA")
    if not isinstance(data, Buffer) or len(raw := bytes(data)) < 88:
        return None
    *numbers, has_primaries, has_luminance = struct.unpack("=22i", raw[:88])
    if not has_primaries or not has_luminance or not all(numbers[1::2]):
        return None
    values = [Fraction(*numbers[i : i + 2]) for i in range(0, 20, 2)]
    pairs = tuple((values[i], values[i + 1]) for i in range(0, 8, 2))
    return Mastering(pairs, (values[8], values[9]))


def _light(picture: VideoFrame) -> tuple[int, int] | None:
    data = picture.side_data.get("CONTENT_LIGHT_LEVEL")
    if not isinstance(data, Buffer) or len(raw := bytes(data)) < 8:
        return None
    brightest, average = struct.unpack("=2I", raw[:8])
    return (brightest, average) if brightest or average else None


def _chroma_site(stream: VideoStream) -> str | None:
    """PyAV tells it from 19 on; a Matroska header that is written for the stream always does."""
    header = BytesIO()
    try:
        with av.open(header, "w", format="matroska") as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
            written = header.getvalue()
    except (av.error.FFmpegError, OSError, ValueError, NotImplementedError):
        return None
    across, down = (written.partition(name)[2][:1] for name in (b"\x55\xb7\x81", b"\x55\xb8\x81"))
    return SITES.get((int.from_bytes(across), int.from_bytes(down)))
