"""What a file holds, as a reader of packets, frames and bytes finds it."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, fields
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import AttachmentStream, Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from sorawm_pipeline.media.clip import as_fraction

OURS = {"comment", "digital_source_type", "encoder", "software"}
"""Tags in which the result says what was done to it, or which program wrote it."""
BRANDS = {"major_brand", "minor_version", "compatible_brands", "creation_time", "duration"}
"""Tags that describe the file, not the clip."""

ORDERS = {2: "top field first", 3: "bottom field first"}
LIMITED = 1

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Facts:
    """One field for each thing that shall come out as it went in. Times in seconds, exact."""

    codec: str
    pixels: str
    frames: int
    times: tuple[Fraction, ...]
    streams: tuple[tuple[str, str], ...]
    copies: tuple[tuple[tuple[Fraction | None, str], ...], ...]
    starts: tuple[Fraction, ...]
    lasts: Fraction | None
    labels: tuple[tuple[int, Labels], ...]
    tags: Labels
    chapters: tuple[tuple[Fraction, Fraction, Labels], ...]
    attachments: tuple[tuple[str | None, str | None, bytes], ...]
    orientation: tuple[int, ...]
    shape: tuple[int, int, Fraction]
    colour: tuple[int, int, int, int]
    chroma: tuple[int, int]
    fields: str
    hdr: tuple[tuple[Fraction, ...], ...]
    alpha: bool
    timecode: str | None


NAMES = tuple(field.name for field in fields(Facts))


def facts(path: Path) -> Facts:
    """Everything at once; the first video that is no cover is the clip."""
    with av.open(str(path)) as container:
        video = _clip_of(container)
        first, times = None, []
        for packet in container.demux(video):
            try:
                pictures = packet.decode()
            except av.error.InvalidDataError:
                continue
            for picture in pictures:
                first = first or picture
                times.append(_seconds(picture.pts, picture.time_base))
        if container.format.name == "avi":
            times = _stored(path)
        assert first is not None
        context = video.codec_context
        matrix = first.side_data.get("DISPLAYMATRIX")
        pixels = first.format.name
        scanned = ORDERS.get(context.field_order, "mixed") if first.interlaced_frame else ""
        hdr = _hdr(first)
        colour = _colour(context, rgb=first.format.is_rgb)
        aspect = as_fraction(video.sample_aspect_ratio) or Fraction(1)
        shape = first.width, first.height, aspect if aspect > 0 else Fraction(1)
        codec = context.codec.canonical_name
        lasts = None
        if container.format.name.startswith("mov,"):
            lasts = _seconds(video.duration, video.time_base)
        beside = dict(video.metadata)
        said = {name.lower(): value for name, value in (container.metadata | beside).items()}
        timecode = said.get("timecode")
    moments = [moment for moment in times if moment is not None]
    site = chroma_site(path)
    with av.open(str(path)) as container:
        copies = _copies(container, _clip_of(container).index)
        chapters = tuple(
            (
                chapter["start"] * (chapter["time_base"] or Fraction(1)),
                chapter["end"] * (chapter["time_base"] or Fraction(1)),
                _labels(chapter["metadata"]),
            )
            for chapter in container.chapters()
        )
        return Facts(
            codec=codec,
            pixels=pixels,
            frames=len(times),
            times=tuple(moments),
            streams=_streams(container),
            copies=copies,
            starts=_starts(copies, moments),
            lasts=lasts,
            labels=_stream_labels(container),
            tags=_labels(container.metadata),
            chapters=chapters,
            attachments=tuple((a.name, a.mimetype, a.data) for a in container.streams.attachments),
            orientation=struct.unpack("=9i", bytes(matrix)) if isinstance(matrix, Buffer) else (),
            shape=shape,
            colour=colour,
            chroma=site,
            fields=scanned,
            hdr=hdr,
            alpha="yuva" in pixels or "gbra" in pixels or "alpha_mode" in beside,
            timecode=timecode,
        )


def _clip_of(container: InputContainer) -> VideoStream:
    return next(s for s in container.streams.video if not s.disposition & Disposition.attached_pic)


def _seconds(ticks: int | None, base: object) -> Fraction | None:
    unit = as_fraction(base)
    return None if ticks is None or unit is None else ticks * unit


def _streams(container: InputContainer) -> tuple[tuple[str, str], ...]:
    clip = _clip_of(container).index
    return tuple(
        (stream.type, "the clip" if stream.index == clip else _codec(stream))
        for stream in container.streams
        if not _machinery(stream)
    )


def _machinery(stream: av.stream.Stream) -> bool:
    """MOV's chapter and time code tracks, whose content is compared as chapters and time code."""
    return stream.type == "data" and (
        stream.metadata.get("handler_name") in ("SubtitleHandler", "TimeCodeHandler")
        or "timecode" in stream.metadata
    )


def _codec(stream: av.stream.Stream) -> str:
    if isinstance(stream, AttachmentStream) or stream.codec_context is None:
        return getattr(stream, "name", None) or ""
    return stream.codec_context.codec.canonical_name


def _copies(
    container: InputContainer, clip: int
) -> tuple[tuple[tuple[Fraction | None, str], ...], ...]:
    """Of every stream but the clip: the time and a digest of every packet."""
    wanted = [
        stream
        for stream in container.streams
        if stream.index != clip and stream.type != "attachment" and not _machinery(stream)
    ]
    found: dict[int, list[tuple[Fraction | None, str]]] = {s.index: [] for s in wanted}
    covers = {s.index for s in wanted if s.disposition & Disposition.attached_pic}
    for packet in container.demux():
        if packet.stream_index in found and packet.size:
            time = None if packet.stream_index in covers else _seconds(packet.pts, packet.time_base)
            digest = hashlib.sha256(bytes(packet)).hexdigest()[:16]
            found[packet.stream_index].append((time, digest))
    return tuple(tuple(found[stream.index]) for stream in wanted)


def _starts(
    copies: tuple[tuple[tuple[Fraction | None, str], ...], ...], times: list[Fraction]
) -> tuple[Fraction, ...]:
    """When the picture begins, and how much later each other stream does."""
    begin = times[0] if times else Fraction(0)
    others = [copy[0][0] - begin for copy in copies if copy and copy[0][0] is not None]
    return (begin, *others)


def _labels(metadata: dict[str, str]) -> Labels:
    return tuple(
        sorted(
            (name.lower(), value)
            for name, value in metadata.items()
            if name.lower() not in OURS | BRANDS and not name.startswith(("_STATISTICS", "BPS"))
        )
    )


def _stream_labels(container: InputContainer) -> tuple[tuple[int, Labels], ...]:
    skipped = {"vendor_id", "handler_name", "timecode", "filename", "mimetype", "alpha_mode"}
    return tuple(
        (
            int(stream.disposition),
            tuple((k, v) for k, v in _labels(stream.metadata) if k not in skipped),
        )
        for stream in container.streams
        if not _machinery(stream)
    )


def _hdr(picture: av.VideoFrame) -> tuple[tuple[Fraction, ...], ...]:
    """Mastering display (primaries, white point, luminances) and content light levels."""
    found = []
    mastering = picture.side_data.get("MASTERING_DISPLAY_METADATA")
    if isinstance(mastering, Buffer):
        numbers = struct.unpack("=22i", bytes(mastering)[:88])
        pairs = zip(numbers[0:20:2], numbers[1:20:2], strict=True)
        found.append(tuple(Fraction(n, d or 1).limit_denominator(50_000) for n, d in pairs))
    light = picture.side_data.get("CONTENT_LIGHT_LEVEL")
    if isinstance(light, Buffer):
        found.append(tuple(Fraction(n) for n in struct.unpack("=2I", bytes(light)[:8])))
    return tuple(found)


def chroma_site(path: Path) -> tuple[int, int]:
    """Where chroma samples lie, across and down, as a Matroska header numbers it; 0: unknown.

    The library itself does not tell before PyAV 19.
    """
    header = BytesIO()
    with av.open(str(path)) as container, av.open(header, "w", format="matroska") as probe:
        probe.add_stream_from_template(_clip_of(container), opaque=True)
        probe.start_encoding()
        written = header.getvalue()
    across, down = (written.partition(name)[2][:1] for name in (b"\x55\xb7\x81", b"\x55\xb8\x81"))
    return int.from_bytes(across), int.from_bytes(down)


def _colour(context: VideoCodecContext, *, rgb: bool) -> tuple[int, int, int, int]:
    """The four tags; a range that is not told is the limited one, RGB has no matrix."""
    matrix = 0 if rgb else context.colorspace
    light = context.color_range if rgb else context.color_range or LIMITED
    return context.color_primaries, context.color_trc, matrix, light


def _stored(path: Path) -> list[Fraction | None]:
    """AVI knows no other time of a picture than its place in the file."""
    with av.open(str(path)) as container:
        return [
            _seconds(packet.dts, packet.time_base)
            for packet in container.demux(_clip_of(container))
            if packet.size
        ]


def differences(before: Facts, after: Facts) -> list[str]:
    """Names of what is not the same."""
    return [name for name in NAMES if getattr(before, name) != getattr(after, name)]
