"""Frames and patches to a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.media import hdr_boxes
from sorawm_pipeline.media.clip import ClipInfo, Colour, Limits, open_input
from sorawm_pipeline.media.encoders import (
    BY_QUANTISER,
    LAMBDA_PER_QSCALE,
    EncoderChoice,
    nominal_rate,
    options_for,
    pixel_format_for,
)
from sorawm_pipeline.media.extras import BESIDE, HDR10_MUXERS
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.frame_clock import COUNTERS, FrameClock, steady_rate
from sorawm_pipeline.media.gops import Gops
from sorawm_pipeline.media.hardware_encoders import HARDWARE, hardware_options
from sorawm_pipeline.media.patch import paste
from sorawm_pipeline.media.releases import TAG_DECODING
from sorawm_pipeline.media.riff import count_packets
from sorawm_pipeline.media.side_streams import AnyPacket, SideStreams, seconds_of, titled
from sorawm_pipeline.media.target import write_error
from sorawm_pipeline.stages.decode import DECODER_PICTURES
from sorawm_pipeline.stages.splice import Spliced, Splicer

IO_BYTES = 1 << 20
GBR_MATRIX = 0
UNTRUE_TAGS = {"encoder", BESIDE}
"""What a source's stream says of itself and a result's does not: its encoder, a second part."""
FRAME_DURATION = 1 << 8
"""libav's AV_CODEC_FLAG_FRAME_DURATION: frames say how long they last, and packets shall too."""


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
    """

    choice: EncoderChoice
    muxer: str
    preset: str
    crf: float | None = None
    bitrate: int | None = None
    most: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    gops: Gops | None = None


class HardwareEncoderError(DeviceError):
    """An encoder in hardware that was proved to work has failed; another one can do it."""


class Encode:
    """Pastes patches, encodes, and muxes the source's other streams beside the picture.

    The file is written under the temporary name it is given; publishing it is the caller's
    business.
    """

    name = "encode"

    def __init__(
        self, clip: ClipInfo, limits: Limits, target: Path, settings: EncodeSettings, max_cap: int
    ) -> None:
        self._clip = clip
        self._limits = limits
        self._target = target
        self._settings = settings
        self.max_cap = max_cap
        self.held = self.held_for(settings)
        self.encoder = settings.choice.encoder
        self._hardware = self.encoder in HARDWARE
        self.frames_encoded = 0
        self.streams_left_out: list[str] = []
        self._file: FileIO | None = None
        self._output: OutputContainer | None = None
        self._source: InputContainer | None = None
        self._sides: SideStreams | None = None
        self._video: VideoStream | None = None
        self._track = 0
        self._clock: FrameClock | None = None
        self._splicer: Splicer | None = None
        self.spliced: Spliced | None = None
        self._format = pixel_format_for(settings.choice.encoder, clip.layout.name)
        self._to_yuv = clip.layout.rgb and self._format.startswith(("yuv", "nv"))

    @staticmethod
    def held_for(settings: EncodeSettings) -> int:
        """Frames that wait inside, at most; a second decoder catches up where groups are copied."""
        return settings.choice.delay + (DECODER_PICTURES if settings.gops else 0)

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        """Raises OutputError or DeviceError: the file cannot be made or the encoder refuses."""
        muxer = self._settings.muxer
        source = self._source = open_input(self._clip.path, self._limits)
        try:
            self._file = FileIO(self._target, "xb")
            output = self._output = av.open(
                self._file,
                "w",
                format=muxer,
                container_options=_muxer_options(muxer, source.metadata),
                buffer_size=IO_BYTES,
                **TAG_DECODING,
            )
        except OSError as error:
            raise write_error(self._target, error) from error
        output.metadata.update(_merged(source.metadata, self._settings.tags))
        output.set_chapters(source.chapters())
        sides = self._sides = SideStreams(source, output, muxer)
        for stream in source.streams:
            if stream.index == self._clip.stream_index:
                self._video = self._main_stream(output, stream.metadata)
                self._video.disposition = stream.disposition
                self._track = self._video.index
            else:
                sides.add(stream)
        losses = self._clip.extras.losses(self.encoder, muxer, self._clip.layout, self._format)
        self.streams_left_out = sides.left_out + losses
        if self._hardware:
            self._open_hardware()
        self._start(output)
        sides.start()

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        with self._failures_told():
            for frame in batch:
                self._encode(frame)
        return []

    def flush(self) -> list[Frame]:
        assert self._video is not None
        assert self._sides is not None
        assert self._output is not None
        assert self._file is not None
        with self._failures_told():
            left = self._coded(None) if self._splicer is None else self._splicer.finish()
            for packet in left:
                self._mux(packet)
            self._sides.mux_until(None)
            self._output.close()
            self._put_right()
            os.fsync(self._file.fileno())
        if self.spliced is not None:
            self.spliced.check(self._target, self._track, self._limits)
        for index, packets in self._sides.dropped.items():
            self.streams_left_out.append(f"stream {index}: {packets} damaged packets")
        return []

    def _put_right(self) -> None:
        """Write into the finished file what its muxer left out."""
        assert self._sides is not None
        extras = self._clip.extras
        if self._sides.counted:
            count_packets(self._target, self._sides.counted)
        if extras.hdr10 and self._settings.muxer in HDR10_MUXERS:
            hdr_boxes.write(self._target, self._track, extras.mastering, extras.light)

    def close(self) -> None:
        if self._sides is not None:
            self._sides.close()
        if self._splicer is not None:
            self._splicer.close()
        for container in (self._source, self._output):
            if container is not None:
                # After a failure the trailer cannot be written, and the file is thrown away.
                with suppress(OSError, av.error.FFmpegError):
                    container.close()
        if self._file is not None:
            self._file.close()
        self._source = self._output = self._sides = self._file = self._video = None
        self._splicer = None

    def _main_stream(self, output: OutputContainer, metadata: Mapping[str, str]) -> VideoStream:
        gops = self._settings.gops
        if gops is None:
            return self._video_stream(output, metadata)
        self._splicer = Splicer(
            self._clip,
            self._limits,
            gops,
            self._settings.muxer,
            lambda scratch: self._video_stream(scratch, {}),
            self._prepared,
        )
        self.spliced = self._splicer.done
        stream = self._splicer.add_stream(output)
        stream.metadata.update(_true_tags(metadata))
        return stream

    def _video_stream(self, output: OutputContainer, metadata: Mapping[str, str]) -> VideoStream:
        clip, settings = self._clip, self._settings
        crf: float | None = settings.choice.crf if settings.crf is None else settings.crf
        if settings.bitrate is not None:
            crf = None
        options = self._options(crf)
        if clip.height % clip.layout.step_y:
            options.pop("slices", None)  # FFV1's end on whole rows of chroma
        stream = output.add_stream(
            settings.choice.encoder,
            rate=nominal_rate(clip.average_rate),
            options=options,
        )
        assert isinstance(stream, VideoStream)
        stream.metadata.update(_true_tags(metadata))
        context = stream.codec_context
        context.width, context.height = clip.width, clip.height
        context.pix_fmt = self._format
        context.time_base = clip.time_base
        if settings.choice.encoder in COUNTERS:
            rate = steady_rate(settings.choice.encoder, nominal_rate(clip.average_rate))
            self._clock = FrameClock(rate, clip.time_base)
            context.framerate, context.time_base = rate, self._clock.time_base
        stream.time_base = clip.time_base
        context.thread_count = 0
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

    def _options(self, crf: float | None) -> dict[str, str]:
        settings = self._settings
        if self._hardware:
            return hardware_options(self.encoder, settings.preset, crf)
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

    def _open_hardware(self) -> None:
        """Before anything else can fail; drivers refuse with the same errors as disks."""
        assert self._video is not None
        try:
            self._video.codec_context.open()
        except (OSError, av.error.FFmpegError) as error:
            raise HardwareEncoderError(
                f"{self.encoder} does not take this clip: {error.strerror}"
            ) from error

    def _start(self, output: OutputContainer) -> None:
        try:
            output.start_encoding()
        except OSError as error:
            raise write_error(self._target, error) from error
        except av.error.FFmpegError as error:
            raise DeviceError(
                f"{self._settings.choice.encoder} in a {self._settings.muxer} file refuses this "
                f"clip, {self._clip.width}x{self._clip.height} {self._format} ({error.strerror}); "
                "try another encode.codec, encode.quality or extension"
            ) from error

    def _encode(self, frame: Frame) -> None:
        assert self._video is not None
        if self._splicer is None:
            packets: Iterable[AnyPacket] = self._coded(self._prepared(frame))
        else:
            packets = self._splicer.take(frame)
        for packet in packets:
            self._mux(packet)
        self.frames_encoded += 1

    def _coded(self, picture: VideoFrame | None) -> Iterable[AnyPacket]:
        assert self._video is not None
        try:
            return self._video.encode(picture)
        except (OSError, av.error.FFmpegError) as error:
            if self._hardware:
                raise HardwareEncoderError(f"{self.encoder} failed: {error.strerror}") from error
            raise

    def _prepared(self, frame: Frame) -> VideoFrame:
        """The picture as the encoder wants it, patches pasted."""
        picture = frame.picture
        paste(picture, frame.patches, self._clip.layout)
        if self._to_yuv:
            picture = picture.reformat(
                format=self._format,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
        elif self._format != self._clip.layout.name:
            picture = picture.reformat(format=self._format)
        picture.pts = frame.pts
        picture.duration = frame.duration
        picture.time_base = self._clip.time_base
        if self._clock is not None:
            self._clock.number(picture)
        picture.pict_type = PictureType.NONE  # the encoder chooses, not the source
        return picture

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        """Turn errors of the disk, the encoder and the muxer into sentences."""
        try:
            yield
        except OSError as error:
            raise write_error(self._target, error) from error
        except av.error.FFmpegError as error:
            raise DeviceError(
                f"{self.encoder} or the {self._settings.muxer} container failed at frame "
                f"{self.frames_encoded} ({error.strerror}); try another encode.codec or extension"
            ) from error

    def _mux(self, packet: AnyPacket) -> None:
        assert self._output is not None
        assert self._sides is not None
        if self._clock is not None:
            self._clock.restore(packet)
        assert self._video is not None
        packet.stream = self._video
        if packet.dts is not None:
            self._sides.mux_until(seconds_of(packet))
        self._output.mux_one(packet)


def _true_tags(source: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in titled(source).items() if k.lower() not in UNTRUE_TAGS}


def _muxer_options(muxer: str, source: Mapping[str, str]) -> dict[str, str]:
    """QuickTime's own tags survive only in the form that replaces the usual one."""
    quicktime = any(name.startswith("com.") for name in source)
    return {"movflags": "use_metadata_tags"} if quicktime and muxer in ("mp4", "mov") else {}


def _merged(source: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """The source's tags under ours; container formats differ in the case of names."""
    ours = {name.lower() for name in tags}
    return {name: value for name, value in source.items() if name.lower() not in ours} | dict(tags)
