"""The file of a result while it is written: its picture, and the source's other streams beside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.media import hdr_boxes
from sorawm_pipeline.media.clip import ClipInfo, Limits, open_clip
from sorawm_pipeline.media.encoders import pixel_format_for
from sorawm_pipeline.media.extras import HDR10_MUXERS
from sorawm_pipeline.media.releases import TAG_DECODING
from sorawm_pipeline.media.riff import count_packets
from sorawm_pipeline.media.side_streams import AnyPacket, SideStreams, seconds_of
from sorawm_pipeline.media.target import write_error
from sorawm_pipeline.stages.picture_encoder import EncodeSettings

IO_BYTES = 1 << 20

AddPicture = Callable[[OutputContainer, Mapping[str, str]], VideoStream]
"""Adds the stream of the main picture to a container, given the tags of the source's."""


class ResultFile:
    """Muxes the packets of the picture, and those of the source's other streams in between.

    The file is written under the temporary name it is given; publishing it is the caller's
    business. Use on one thread.

    Attributes:
        track: index of the picture's stream.
        left_out: in words, what of the source the result does not have.
    """

    def __init__(
        self, clip: ClipInfo, limits: Limits, path: Path, settings: EncodeSettings
    ) -> None:
        self._clip = clip
        self._limits = limits
        self._path = path
        self._settings = settings
        self._file: FileIO | None = None
        self._output: OutputContainer | None = None
        self._source: InputContainer | None = None
        self._sides: SideStreams | None = None
        self._video: VideoStream
        self.track = 0
        self.left_out: list[str] = []

    def open(
        self, add_picture: AddPicture, ready: Callable[[VideoStream], None] | None = None
    ) -> None:
        """Make the file and all its streams; `ready` is called before the header is written.

        Raises:
            OutputError: the file cannot be made.
            DeviceError: the container refuses, or an encoder in hardware.
            InputError: another encoder does.
        """
        clip, muxer = self._clip, self._settings.muxer
        source = self._source = open_clip(clip, self._limits)
        try:
            self._file = FileIO(self._path, "xb")
            output = self._output = av.open(
                self._file,
                "w",
                format=muxer,
                container_options=_muxer_options(muxer, source.metadata),
                buffer_size=IO_BYTES,
                **TAG_DECODING,
            )
        except OSError as error:
            raise write_error(self._path, error) from error
        output.metadata.update(_merged(source.metadata, self._settings.tags))
        output.set_chapters(source.chapters())
        sides = self._sides = SideStreams(source, output, muxer)
        for stream in source.streams:
            if stream.index == clip.stream_index:
                self._video = add_picture(output, stream.metadata)
                self._video.disposition = stream.disposition
                self.track = self._video.index
            else:
                sides.add(stream)
        encoder, pixels = self._settings.choice.encoder, self._pixels
        losses = clip.extras.losses(encoder, muxer, clip.layout, pixels)
        self.left_out = sides.left_out + losses
        if ready is not None:
            ready(self._video)
        self._start(output)
        sides.start()

    def mux(self, packet: AnyPacket) -> None:
        """Write a packet of the picture, after what comes before it of the other streams."""
        assert self._output is not None
        assert self._sides is not None
        packet.stream = self._video
        if packet.dts is not None:
            self._sides.mux_until(seconds_of(packet))
        self._output.mux_one(packet)

    def finish(self) -> None:
        """Write what is left of the other streams and the container's end; bring it to the disk."""
        assert self._sides is not None
        assert self._output is not None
        assert self._file is not None
        self._sides.mux_until(None)
        self._output.close()
        self._put_right(self._sides)
        os.fsync(self._file.fileno())
        for index, packets in self._sides.dropped.items():
            self.left_out.append(f"stream {index}: {packets} damaged packets")

    def close(self) -> None:
        if self._sides is not None:
            self._sides.close()
        for container in (self._source, self._output):
            if container is not None:
                # After a failure the trailer cannot be written, and the file is thrown away.
                with suppress(OSError, av.error.FFmpegError):
                    container.close()
        if self._file is not None:
            self._file.close()
        self._source = self._output = self._sides = self._file = None

    @contextmanager
    def failures_told(self, frame: Callable[[], int]) -> Iterator[None]:
        """Turn errors of the disk, the encoder and the muxer into sentences.

        Args:
            frame: how many frames have been written.
        """
        try:
            yield
        except OSError as error:
            raise write_error(self._path, error) from error
        except av.error.FFmpegError as error:
            settings = self._settings
            raise DeviceError(
                f"{settings.choice.encoder} or the {settings.muxer} container failed at frame "
                f"{frame()} ({error.strerror}); try another encode.codec or extension"
            ) from error

    @property
    def _pixels(self) -> str:
        return pixel_format_for(self._settings.choice.encoder, self._clip.layout.name)

    def _start(self, output: OutputContainer) -> None:
        clip, settings = self._clip, self._settings
        try:
            output.start_encoding()
        except OSError as error:
            raise write_error(self._path, error) from error
        except av.error.FFmpegError as error:
            raise DeviceError(
                f"{settings.choice.encoder} in a {settings.muxer} file refuses this "
                f"clip, {clip.width}x{clip.height} {self._pixels} ({error.strerror}); "
                "try another encode.codec, encode.quality or extension"
            ) from error

    def _put_right(self, sides: SideStreams) -> None:
        """Write into the finished file what its muxer left out."""
        extras = self._clip.extras
        if sides.counted:
            count_packets(self._path, sides.counted)
        if extras.hdr10 and self._settings.muxer in HDR10_MUXERS:
            hdr_boxes.write(self._path, self.track, extras.mastering, extras.light)


def _muxer_options(muxer: str, source: Mapping[str, str]) -> dict[str, str]:
    """QuickTime's own tags survive only in the form that replaces the usual one."""
    quicktime = any(name.startswith("com.") for name in source)
    return {"movflags": "use_metadata_tags"} if quicktime and muxer in ("mp4", "mov") else {}


def _merged(source: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """The source's tags under ours; container formats differ in the case of names."""
    ours = {name.lower() for name in tags}
    return {name: value for name, value in source.items() if name.lower() not in ours} | dict(tags)
