"""How the main picture is encoded: the encoder's stream, and frames as it wants them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import av
from av.codec.hwaccel import HWAccel
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from sorawm_pipeline.errors import DeviceError, InputError
from sorawm_pipeline.hardware.codecs import upload_device
from sorawm_pipeline.hardware.cores import frame_threads
from sorawm_pipeline.media.clip import ClipInfo, Colour
from sorawm_pipeline.media.encoders import (
    BY_QUANTISER,
    LAMBDA_PER_QSCALE,
    EncoderChoice,
    nominal_rate,
    options_for,
    pixel_format_for,
)
from sorawm_pipeline.media.extras import BESIDE
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.frame_clock import COUNTERS, FrameClock, steady_rate
from sorawm_pipeline.media.gops import Gops
from sorawm_pipeline.media.hardware_encoders import HARDWARE, hardware_options
from sorawm_pipeline.media.patch import paste
from sorawm_pipeline.media.side_streams import AnyPacket, titled
from sorawm_pipeline.snapshot import value

GBR_MATRIX = 0
UNTRUE_TAGS = {"encoder", BESIDE}
"""What a source's stream says of itself and a result's does not: its encoder, a second part."""
FRAME_THREADED = ("libx264", "libx264rgb")
"""Encoders that can work at several pictures at a time and look ahead meanwhile. Otherwise they cut
each picture into slices, one for each thread, and all of these wait while they look ahead."""

SMALL = 1 << 20
"""Pixels of a picture up to which they do so: it takes memory for a dozen more of them."""

UNTIMED = 2
"""libx265 makes decoding times up where it is given no more pictures (its issue 781). So few are
decoded in the order in which they are shown."""

FRAME_DURATION = 1 << 8
"""libav's AV_CODEC_FLAG_FRAME_DURATION: frames say how long they last, and packets shall too."""


@value
@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How to encode.

    Attributes:
        choice: codec and encoder.
        muxer: libav's name of the output format.
        preset: one of `encoders.PRESETS`.
        crf: constant quality; None for the codec's own default.
        bitrate: bits per second in place of a constant quality.
        most: bits per second that a constant quality may take; None: as many as it wants.
        tags: container metadata to write beside the source's own.
        gops: the source's groups of pictures, of which those without a change are copied; None
            where all are to be encoded.
        gop: frames from one key frame to the next, at most; None as the encoder likes.
    """

    choice: EncoderChoice
    muxer: str
    preset: str
    crf: float | None = None
    bitrate: int | None = None
    most: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    gops: Gops | None = None
    gop: int | None = None

    @property
    def hardware(self) -> bool:
        return self.choice.encoder in HARDWARE

    @property
    def counts(self) -> bool:
        """Whether the encoder only counts pictures, so that each stream needs its own clock."""
        return self.choice.encoder in COUNTERS


class HardwareEncoderError(DeviceError):
    """An encoder in hardware that was proved to work has failed; another one can do it."""


class PictureEncoder:
    """Adds streams that encode as told, and readies frames for them. Use on one thread."""

    def __init__(self, clip: ClipInfo, settings: EncodeSettings) -> None:
        self._clip = clip
        self._settings = settings
        self._clock: FrameClock | None = None
        self._given = 0
        self.pixel_format = pixel_format_for(settings.choice.encoder, clip.layout.name)
        self._to_yuv = clip.layout.rgb and self.pixel_format.startswith(("yuv", "nv"))

    def add_stream(self, output: OutputContainer, metadata: Mapping[str, str]) -> VideoStream:
        """A stream with an encoder that is not opened yet; `metadata` are the source's tags.

        Raises:
            HardwareEncoderError: the device that the encoder works on cannot be opened.
        """
        clip, settings = self._clip, self._settings
        crf: float | None = settings.choice.crf if settings.crf is None else settings.crf
        if settings.bitrate is not None:
            crf = None
        options = self._options(crf)
        if clip.height % clip.layout.step_y:
            options.pop("slices", None)  # FFV1's end on whole rows of chroma
        device = upload_device(settings.choice.encoder)
        with self._hardware_blamed("does not open its device"):
            stream = output.add_stream(
                settings.choice.encoder,
                rate=nominal_rate(clip.average_rate),
                options=options,
                hwaccel=None if device is None else HWAccel(device),
            )
        assert isinstance(stream, VideoStream)
        self._given = 0
        stream.metadata.update(true_tags(metadata))
        context = stream.codec_context
        context.width, context.height = clip.width, clip.height
        context.pix_fmt = self.pixel_format
        context.time_base = clip.time_base
        if settings.choice.encoder in COUNTERS:
            rate = steady_rate(settings.choice.encoder, nominal_rate(clip.average_rate))
            self._clock = FrameClock(rate, clip.time_base)
            context.framerate, context.time_base = rate, self._clock.time_base
        stream.time_base = clip.time_base
        if settings.gop is not None:
            context.gop_size = settings.gop
        context.thread_count = 0
        if settings.choice.encoder in FRAME_THREADED and clip.width * clip.height <= SMALL:
            context.thread_type, context.thread_count = "FRAME", frame_threads()
        context.flags |= FRAME_DURATION
        colour = self._colour()
        context.color_primaries = colour.primaries
        context.color_trc = colour.transfer
        context.colorspace = colour.matrix
        context.color_range = colour.range
        clip.extras.tell(settings.choice.encoder, context, context.options)
        if settings.bitrate is not None:
            context.bit_rate = settings.bitrate
        elif settings.choice.codec in BY_QUANTISER and crf is not None:
            context.qscale = True
            context.qmin = context.qmax = max(1, round(crf))
            context.global_quality = max(1, round(crf)) * LAMBDA_PER_QSCALE
        if clip.sample_aspect_tagged is not None:
            stream.sample_aspect_ratio = clip.sample_aspect_tagged
            context.sample_aspect_ratio = clip.sample_aspect_tagged
        if settings.choice.codec == "hevc" and settings.muxer in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # some players refuse the other one, hev1
        if clip.display_matrix is not None:
            matrix = memoryview(clip.display_matrix).cast("i")
            stream.set_display_matrix(list(matrix[:9]))
        return stream

    def prepared(self, frame: Frame) -> VideoFrame:
        """The picture as the encoder wants it, patches pasted."""
        picture = frame.picture
        paste(picture, frame.patches, self._clip.layout)
        if self._to_yuv:
            picture = picture.reformat(
                format=self.pixel_format,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
        elif self.pixel_format != self._clip.layout.name:
            picture = picture.reformat(format=self.pixel_format)
        picture.pts = frame.pts
        picture.duration = frame.duration
        picture.time_base = self._clip.time_base
        if self._clock is not None:
            self._clock.number(picture)
        picture.pict_type = PictureType.NONE  # the encoder chooses, not the source
        return picture

    def open(self, stream: VideoStream) -> None:
        """Open a stream's encoder before anything else can fail.

        Raises:
            HardwareEncoderError: one in hardware refuses; drivers do so with the errors of disks.
            InputError: another one does.
            MemoryError: it has none.
        """
        clip, encoder = self._clip, self._settings.choice.encoder
        try:
            with self._hardware_blamed("does not take this clip"):
                stream.codec_context.open()
        except MemoryError:
            raise
        except av.error.FFmpegError as error:
            raise InputError(
                f"{encoder} does not take this clip, {clip.width}x{clip.height} "
                f"{self.pixel_format} ({error.strerror}); try another encode.codec or "
                "encode.quality",
                kind="unsupported",
            ) from error

    def coded(self, stream: VideoStream, picture: VideoFrame | None) -> Iterable[AnyPacket]:
        """The packets that follow from the next picture; after the last one, with None, the rest.

        Raises:
            HardwareEncoderError: an encoder in hardware fails.
            FFmpegError, OSError: another one does.
        """
        with self._hardware_blamed("failed"):
            packets = stream.encode(picture)
        self._given += picture is not None
        untimed = self._settings.choice.encoder == "libx265" and self._given <= UNTIMED
        for packet in packets:
            if untimed:
                packet.dts = packet.pts
            if self._clock is not None:
                self._clock.restore(packet)
        return packets

    @contextmanager
    def _hardware_blamed(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, av.error.FFmpegError, NotImplementedError) as error:
            if not self._settings.hardware:
                raise
            encoder, reason = self._settings.choice.encoder, getattr(error, "strerror", error)
            raise HardwareEncoderError(f"{encoder} {what}: {reason}") from error

    def _options(self, crf: float | None) -> dict[str, str]:
        settings = self._settings
        if settings.hardware:
            return hardware_options(settings.choice.encoder, settings.preset, crf)
        return options_for(settings.choice, settings.preset, crf, settings.muxer, settings.most)

    def _colour(self) -> Colour:
        """The tags to write: the source's, but for what lies in the kind of picture itself."""
        colour = self._clip.colour
        if self._to_yuv:
            return Colour(
                colour.primaries, colour.transfer, Colorspace.ITU709, int(ColorRange.MPEG)
            )
        if self._clip.layout.rgb:
            return Colour(colour.primaries, colour.transfer, GBR_MATRIX, colour.range)
        return colour


def true_tags(source: Mapping[str, str]) -> dict[str, str]:
    """What a source's stream says of itself that is true of the result's as well."""
    return {k: v for k, v in titled(source).items() if k.lower() not in UNTRUE_TAGS}
