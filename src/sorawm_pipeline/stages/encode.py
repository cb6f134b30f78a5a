"""Frames and patches to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.side_streams import AnyPacket
from sorawm_pipeline.stages.decode import DECODER_PICTURES
from sorawm_pipeline.stages.picture_encoder import (
    EncodeSettings,
    HardwareEncoderError,
    PictureEncoder,
    true_tags,
)
from sorawm_pipeline.stages.result_file import ResultFile
from sorawm_pipeline.stages.splice import Spliced, Splicer

__all__ = ["Encode", "EncodeSettings", "HardwareEncoderError"]


class Encode:
    """Pastes patches, encodes, and muxes the source's other streams beside the picture.

    Args:
        settings: how to encode.
        settled: called when it is opened, while the stages before it are at work already, for
            settings that differ from `settings` in what is left open there: the constant quality,
            what it may take, how far key frames are apart.
    """

    name = "encode"

    def __init__(
        self,
        clip: ClipInfo,
        limits: Limits,
        target: Path,
        settings: EncodeSettings,
        max_cap: int,
        settled: Callable[[], EncodeSettings] | None = None,
    ) -> None:
        self._clip = clip
        self._limits = limits
        self._target = target
        self._settings = settings
        self._settled = settled
        self.max_cap = max_cap
        self.held = self.held_for(settings)
        self.encoder = settings.choice.encoder
        self.frames_encoded = 0
        self._pictures = PictureEncoder(clip, settings)
        self._file = ResultFile(clip, limits, target, settings)
        self._video: VideoStream | None = None
        self._splicer: Splicer | None = None
        self.spliced: Spliced | None = None

    @staticmethod
    def held_for(settings: EncodeSettings) -> int:
        """Frames that wait inside, at most; a second decoder catches up where groups are copied."""
        return settings.choice.delay + (DECODER_PICTURES if settings.gops else 0)

    @property
    def streams_left_out(self) -> list[str]:
        return self._file.left_out

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        """Make the file and open the encoder.

        Raises:
            OutputError: the file cannot be made.
            DeviceError: the container refuses, or an encoder in hardware.
            InputError: another encoder does.
        """
        if self._settled is not None:
            self._pictures = PictureEncoder(self._clip, self._settled())
        ready = self._pictures.open if self._settings.gops is None else None
        self._file.open(self._add_picture, ready)

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        with self._file.failures_told(lambda: self.frames_encoded):
            for frame in batch:
                self._encode(frame)
        return []

    def flush(self) -> list[Frame]:
        with self._file.failures_told(lambda: self.frames_encoded):
            left = self._coded(None) if self._splicer is None else self._splicer.finish()
            for packet in left:
                self._file.mux(packet)
            self._file.finish()
        if self.spliced is not None:
            self.spliced.check(self._target, self._file.track, self._limits)
        return []

    def close(self) -> None:
        if self._splicer is not None:
            self._splicer.close()
        self._file.close()
        self._video = self._splicer = None

    def _add_picture(self, output: OutputContainer, metadata: Mapping[str, str]) -> VideoStream:
        gops = self._settings.gops
        if gops is None:
            self._video = self._pictures.add_stream(output, metadata)
            return self._video
        self._splicer = Splicer(
            self._clip, self._limits, gops, self._settings.muxer, self._pictures
        )
        self.spliced = self._splicer.done
        stream = self._splicer.add_stream(output)
        stream.metadata.update(true_tags(metadata))
        return stream

    def _encode(self, frame: Frame) -> None:
        if self._splicer is None:
            packets: Iterable[AnyPacket] = self._coded(self._pictures.prepared(frame))
        else:
            packets = self._splicer.take(frame, changed=bool(frame.patches))
        for packet in packets:
            self._file.mux(packet)
        self.frames_encoded += 1

    def _coded(self, picture: VideoFrame | None) -> Iterable[AnyPacket]:
        assert self._video is not None
        return self._pictures.coded(self._video, picture)
