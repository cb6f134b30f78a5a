"""Frames and patches to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Stream
from av.video.frame import PictureType
from av.video.stream import VideoStream

from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.media.clip import ClipInfo, Limits, open_input
from sorawm_pipeline.media.encoders import (
    LAMBDA_PER_QSCALE,
    EncoderChoice,
    nominal_rate,
    options_for,
    pixel_format_for,
)
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.patch import paste
from sorawm_pipeline.media.target import write_error

AnyPacket: TypeAlias = "Packet[Any]"
IO_BYTES = 1 << 20
STREAM_COPY_FAILED = (av.error.FFmpegError, ValueError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How to encode.

    Attributes:
        choice: codec and encoder.
        muxer: libav's name of the output format.
        preset: one of `encoders.PRESETS`.
        crf: constant quality; None for the codec's own default.
        bitrate: bits per second in place of a constant quality.
        tags: container metadata to write beside the source's own.
    """

    choice: EncoderChoice
    muxer: str
    preset: str
    crf: float | None = None
    bitrate: int | None = None
    tags: dict[str, str] = field(default_factory=dict)


class Encode:
    """Pastes patches, encodes, and muxes the other streams of the source packet by packet.

    The other streams come from a second demuxer on the same file, read only as far as the video
    has got, so they take no memory however they are interleaved. The file is written under the
    temporary name it is given; publishing it is the caller's business.
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
        self.held = settings.choice.delay
        self.encoder = settings.choice.encoder
        self.frames_encoded = 0
        self.streams_left_out: list[str] = []
        self._file: FileIO | None = None
        self._output: OutputContainer | None = None
        self._source: InputContainer | None = None
        self._video: VideoStream | None = None
        self._format = pixel_format_for(settings.choice.encoder, clip.layout.name)
        self._copies: dict[int, Stream] = {}
        self._others: Iterator[AnyPacket] = iter(())
        self._pending: AnyPacket | None = None

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        """Raises OutputError or DeviceError: the file cannot be made or the encoder refuses."""
        try:
            self._file = FileIO(self._target, "xb")
            self._output = av.open(
                self._file,
                "w",
                format=self._settings.muxer,
                buffer_size=IO_BYTES,
                metadata_errors="surrogateescape",
            )
        except OSError as error:
            raise write_error(self._target, error) from error
        self._source = open_input(self._clip.path, self._limits)
        self._output.metadata.update(_merged(self._source.metadata, self._settings.tags))
        self._output.set_chapters(self._source.chapters())
        for stream in self._source.streams:
            self._add(stream)
        self._others = self._other_packets()
        self._pending = next(self._others, None)
        self._start()

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        try:
            for frame in batch:
                self._encode(frame)
        except OSError as error:
            raise write_error(self._target, error) from error
        return []

    def flush(self) -> list[Frame]:
        assert self._video is not None
        assert self._output is not None
        assert self._file is not None
        try:
            for packet in self._video.encode(None):
                self._mux_video(packet)
            self._mux_others_until(None)
            self._output.close()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self._target, error) from error
        return []

    def close(self) -> None:
        self._others = iter(())
        self._pending = None
        for container in (self._source, self._output):
            if container is not None:
                # After a failure the trailer cannot be written, and the file is thrown away.
                with suppress(OSError, av.error.FFmpegError):
                    container.close()
        if self._file is not None:
            self._file.close()
        self._source = self._output = self._file = self._video = None

    def _add(self, stream: Stream) -> None:
        assert self._output is not None
        if stream.index == self._clip.stream_index:
            self._video = self._video_stream()
            copy: Stream = self._video
        elif isinstance(stream, AttachmentStream):
            name = stream.name or f"attachment-{stream.index}"
            self._output.add_attachment(
                name, stream.mimetype or "application/octet-stream", stream.data
            )
            return
        else:
            try:
                copy = self._output.add_stream_from_template(stream)
            except STREAM_COPY_FAILED as error:
                self.streams_left_out.append(f"{stream.type} stream {stream.index}: {error}")
                return
            self._copies[stream.index] = copy
            if stream.time_base is not None:
                copy.time_base = stream.time_base
        copy.metadata.update(stream.metadata)
        if copy is self._video:
            for key in ("encoder", "ENCODER"):  # it was made by another one now
                copy.metadata.pop(key, None)
        copy.disposition = stream.disposition

    def _video_stream(self) -> VideoStream:
        assert self._output is not None
        clip, settings = self._clip, self._settings
        crf: float | None = settings.choice.crf if settings.crf is None else settings.crf
        if settings.bitrate is not None:
            crf = None
        stream = self._output.add_stream(
            settings.choice.encoder,
            rate=nominal_rate(clip.average_rate),
            options=options_for(settings.choice, settings.preset, crf, settings.muxer),
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height = clip.width, clip.height
        context.pix_fmt = self._format
        context.time_base = clip.time_base
        stream.time_base = clip.time_base
        context.thread_count = 0
        context.color_primaries = clip.colour.primaries
        context.color_trc = clip.colour.transfer
        context.colorspace = clip.colour.matrix
        context.color_range = clip.colour.range
        if settings.bitrate is not None:
            context.bit_rate = settings.bitrate
        elif settings.choice.codec == "mjpeg" and crf is not None:
            context.qmin = context.qmax = max(1, round(crf))
            context.global_quality = max(1, round(crf)) * LAMBDA_PER_QSCALE
        if clip.sample_aspect_tagged is not None:
            stream.sample_aspect_ratio = clip.sample_aspect_tagged
        if clip.display_matrix is not None:
            matrix = memoryview(clip.display_matrix).cast("i")
            stream.set_display_matrix(list(matrix[:9]))
        return stream

    def _start(self) -> None:
        assert self._output is not None
        try:
            self._output.start_encoding()
        except OSError as error:
            raise write_error(self._target, error) from error
        except av.error.FFmpegError as error:
            raise DeviceError(
                f"{self._settings.choice.encoder} or the {self._settings.muxer} container does not "
                f"accept {self._clip.width}x{self._clip.height} {self._format} "
                f"({error.strerror}); try another encode.codec or extension"
            ) from error

    def _encode(self, frame: Frame) -> None:
        assert self._video is not None
        picture = frame.picture
        paste(picture, frame.patches, self._clip.layout)
        if self._format != self._clip.layout.name:
            picture = picture.reformat(format=self._format)
        picture.pts = frame.pts
        picture.time_base = self._clip.time_base
        picture.pict_type = PictureType.NONE  # the encoder chooses, not the source
        for packet in self._video.encode(picture):
            self._mux_video(packet)
        self.frames_encoded += 1

    def _mux_video(self, packet: AnyPacket) -> None:
        assert self._output is not None
        if packet.dts is not None:
            self._mux_others_until(float(packet.dts * _exact(packet.time_base)))
        self._output.mux_one(packet)

    def _mux_others_until(self, seconds: float | None) -> None:
        """Copy the other streams' packets that come before a moment; all that are left for None."""
        assert self._output is not None
        while self._pending is not None:
            packet = self._pending
            assert packet.dts is not None
            if seconds is not None and float(packet.dts * _exact(packet.time_base)) > seconds:
                return
            packet.stream = self._copies[packet.stream_index]
            self._output.mux_one(packet)
            self._pending = next(self._others, None)

    def _other_packets(self) -> Iterator[AnyPacket]:
        assert self._source is not None
        if not self._copies:
            return
        for stream in self._source.streams:
            if stream.index not in self._copies:
                stream.discard = Discard.all
        for packet in self._source.demux():
            if packet.stream_index in self._copies and packet.dts is not None and packet.size:
                yield packet


def _exact(time_base: Fraction) -> Fraction:
    return Fraction(time_base.numerator, time_base.denominator)


def _merged(source: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """The source's tags under ours; container formats differ in the case of names."""
    ours = {name.lower() for name in tags}
    return {name: value for name, value in source.items() if name.lower() not in ours} | dict(tags)
