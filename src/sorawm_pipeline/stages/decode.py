"""File to frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from sorawm_pipeline.errors import InputError, PipelineError
from sorawm_pipeline.media.clip import ClipInfo, Limits, open_clip
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.planes import PLANAR_TWIN
from sorawm_pipeline.media.timeline import Span

DECODER_PICTURES = 17
"""Most pictures a decoder keeps: 16 for reference and reordering, and the one at hand."""

JUMP_BACK_S = 1
"""Time stamps that go back by more are a new beginning, not a slip."""


class HardwareDecoderError(InputError):
    """A device that was proved to decode has failed, or the file has; software can tell."""


class Decode:
    """Reads the main video stream; every other stream is left for the muxer.

    Slice threads only: frame threads hold more pictures and can hang when left early.

    Args:
        accelerator: libav's name of a device that decodes; None for software.
        span: the only pictures to read; None for all.
        keep_on: number of the GPU that decodes and keeps its pictures as well; None: it does not.
    """

    name = "decode"
    held = DECODER_PICTURES

    def __init__(
        self,
        clip: ClipInfo,
        limits: Limits,
        accelerator: str | None = None,
        span: Span | None = None,
        keep_on: int | None = None,
    ) -> None:
        self._keep_on = keep_on
        self._clip = clip
        self._span = span
        self._limits = limits
        self.accelerator = accelerator
        self._container: InputContainer | None = None
        self._frames: Iterator[Frame] = iter(())
        self._moments: list[int] = []
        self._stopped = False

    def open(self) -> None:
        with self._device_blamed():
            self._open()

    def _open(self) -> None:
        self._container = open_clip(self._clip, self._limits, self._device())
        stream = self._container.streams[self._clip.stream_index]
        if not isinstance(stream, VideoStream):
            raise InputError(f"{self._clip.path} changed while it was being read")
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 0
        self._frames = self._decoded(self._container, stream)
        if self._span is not None:
            self._container.seek(self._span.start_pts, stream=stream)
            self._frames = _within(self._span, self._frames)

    def _device(self) -> HWAccel | None:
        if self.accelerator is None:
            return None
        keep = self._keep_on
        return HWAccel(
            self.accelerator,
            device=None if keep is None else str(keep),
            allow_software_fallback=False,
            is_hw_owned=keep is not None,
        )

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._clip.path

    def stop(self) -> None:
        """End the stream here. May be called from any thread."""
        self._stopped = True

    def read(self, limit: int) -> list[Frame]:
        """Up to `limit` frames in presentation order; none at the end of the stream.

        Raises:
            InputError: a packet cannot be decoded, or the file ends before the container says.
        """
        if self._stopped:
            return []
        with self._device_blamed():
            return list(islice(self._frames, limit))

    @contextmanager
    def _device_blamed(self) -> Iterator[None]:
        """Where a device decodes, whatever fails may be its fault."""
        try:
            yield
        except (PipelineError, OSError, ValueError, RuntimeError) as error:
            if self.accelerator is None:
                raise
            raise HardwareDecoderError(f"decoding by {self.accelerator} failed: {error}") from error

    def close(self) -> None:
        self._frames = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[Frame]:
        last = None
        for index, decoded in enumerate(self._pictures(container, stream)):
            on_device, picture = (
                (decoded, brought_down(decoded)) if self._keep_on is not None else (None, decoded)
            )
            self._check_unchanged(picture, index)
            pts = self._moment(picture)
            if pts is None:
                pts = 0 if last is None else last + max(1, picture.duration or 0)
            if last is not None and pts <= last:
                if (last - pts) * self._clip.time_base > JUMP_BACK_S:
                    raise InputError(
                        f"{self._clip.path}: its time stamps jump back at frame {index}, as in "
                        "recordings that were joined; remux it first",
                        kind="unsupported",
                    )
                pts = last + 1  # two pictures cannot be shown at once; order is what counts
            last = pts
            if picture.format.name != self._clip.layout.name:
                picture = picture.reformat(format=self._clip.layout.name)
            yield Frame(index, pts, picture.duration or 0, picture, on_device=on_device)

    def _moment(self, picture: av.VideoFrame) -> int | None:
        """When a picture is shown, or None.

        AVI tells only when packets are decoded. Pictures are shown at the same moments, in their
        own order, whatever the delay of the decoder.
        """
        if self._moments:
            return heappop(self._moments)
        return picture.pts if picture.pts is not None else picture.dts

    def _pictures(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        packets, pictures = 0, 0 if self._span is None else self._span.start
        try:
            for packet in container.demux(stream):
                last = packet.dts is None and packet.size == 0
                if packet.is_corrupt and self._clip.counts_frames:
                    raise InputError(f"{self._clip.path} is cut short in frame {packets}")
                packets += not last
                dts = packet.dts if self._clip.format_name == "avi" and packet.size else None
                if dts is not None:
                    heappush(self._moments, dts)
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError:
                    if pictures or self._span is not None:
                        raise
                    if dts is not None:
                        self._moments.remove(dts)
                    continue  # recordings of a broadcast start with undecodable pictures
                for picture in decoded:
                    pictures += 1
                    yield picture
                    del picture
                del decoded
        except av.error.FFmpegError as error:
            raise InputError(
                f"{self._clip.path} is damaged after frame {pictures}: {error.strerror}"
            ) from error
        if self._span is not None:
            return
        if self._clip.counts_frames and packets < self._clip.frames_claimed:
            raise InputError(
                f"{self._clip.path} is cut short: its index lists {self._clip.frames_claimed} "
                f"frames and only {packets} can be read; copy it again"
            )
        if not pictures:
            raise InputError(
                f"{self._clip.path} holds no frame that can be decoded", kind="no_video"
            )

    def _check_unchanged(self, picture: av.VideoFrame, index: int) -> None:
        clip, pixels = self._clip, picture.format.name
        if self.accelerator and PLANAR_TWIN.get(pixels) == clip.layout.name:
            pixels = clip.pixel_format  # devices hand out the same samples in other order
        if (picture.width, picture.height, pixels) != (
            clip.width,
            clip.height,
            clip.pixel_format,
        ):
            raise InputError(
                f"{clip.path} changes from {clip.width}x{clip.height} {clip.pixel_format} to "
                f"{picture.width}x{picture.height} {picture.format.name} at frame {index}; "
                "split it there and clean the parts one by one",
                kind="unsupported",
            )


def brought_down(picture: av.VideoFrame) -> av.VideoFrame:
    """A device's picture in memory, as it is."""
    assert picture.sw_format is not None
    return picture.reformat(format=picture.sw_format.name)


def _within(span: Span, frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames of a span among those decoded from its start on, numbered as in the clip.

    Raises:
        Unfit: they are not those that the packets promised.
    """
    wanted = zip(range(span.first, span.end), span.pts.tolist(), strict=True)
    index, pts = next(wanted)
    for frame in frames:
        if frame.pts < pts and index == span.first:
            continue
        if frame.pts != pts:
            break
        frame.index = index
        yield frame
        following = next(wanted, None)
        if following is None:
            return
        index, pts = following
    raise Unfit(f"picture {index} is not found where its packets say")
