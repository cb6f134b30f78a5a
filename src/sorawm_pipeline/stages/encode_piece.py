"""Frames and patches to the packets of one piece of a clip, which a file is made of later."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.packet_store import PacketIndex, PacketWriter
from sorawm_pipeline.media.releases import TAG_DECODING
from sorawm_pipeline.media.side_streams import AnyPacket
from sorawm_pipeline.media.target import write_error
from sorawm_pipeline.media.timeline import Span
from sorawm_pipeline.stages.encode import Encode
from sorawm_pipeline.stages.picture_encoder import EncodeSettings, PictureEncoder
from sorawm_pipeline.stages.splice import Splicer


class EncodePiece:
    """Encodes, or copies by groups, what lies in a piece; frames around it are let go.

    Args:
        settings: with the groups of this piece alone, if groups may be copied.
        piece: the frames that become packets. It begins with a key frame of the source.
        changed: numbers of the groups that cannot be copied, counted in the piece.
        path: of the file to make.
    """

    name = "encode"

    def __init__(
        self,
        clip: ClipInfo,
        limits: Limits,
        settings: EncodeSettings,
        piece: Span,
        changed: frozenset[int],
        path: Path,
        max_cap: int,
    ) -> None:
        self._clip = clip
        self._limits = limits
        self._settings = settings
        self._piece = piece
        self._changed = changed
        self._path = path
        self.max_cap = max_cap
        self.held = Encode.held_for(settings)
        self.encoder = settings.choice.encoder
        self.frames_encoded = 0
        self.index: PacketIndex | None = None
        self._pictures = PictureEncoder(clip, settings)
        self._writer: PacketWriter | None = None
        self._scratch: OutputContainer | None = None
        self._video: VideoStream | None = None
        self._splicer: Splicer | None = None

    def cap(self) -> int:
        return self.max_cap

    def open(self) -> None:
        """Raises OutputError, DeviceError or InputError: as `Encode.open` does."""
        with self._failures_told():
            self._writer = PacketWriter(self._path, self._clip.time_base)
            gops = self._settings.gops
            if gops is None:
                self._open_encoder()
                return
            self._splicer = Splicer(
                self._clip,
                self._limits,
                gops,
                self._settings.muxer,
                self._pictures,
                start=self._piece.start_pts,
            )

    def process(self, batch: Sequence[Frame]) -> list[Frame]:
        with self._failures_told():
            for frame in batch:
                if self._piece.first <= frame.index < self._piece.end:
                    self._write(self._coded(frame))
                    self.frames_encoded += 1
        return []

    def flush(self) -> list[Frame]:
        assert self._writer is not None
        with self._failures_told():
            if self._splicer is not None:
                self._write(self._splicer.finish())
            elif self._video is not None:
                self._write(self._pictures.coded(self._video, None))
            self.index = self._writer.finish()
        return []

    def close(self) -> None:
        if self._splicer is not None:
            self._splicer.close()
        if self._scratch is not None:
            with suppress(OSError, av.error.FFmpegError):
                self._scratch.close()
        if self._writer is not None:
            self._writer.close()
        self._video = self._splicer = self._scratch = self._writer = None

    def _open_encoder(self) -> None:
        self._scratch = av.open(BytesIO(), "w", format=self._settings.muxer, **TAG_DECODING)
        self._video = self._pictures.add_stream(self._scratch, {})
        self._pictures.open(self._video)

    def _coded(self, frame: Frame) -> Iterable[AnyPacket]:
        if self._splicer is None:
            assert self._video is not None
            return self._pictures.coded(self._video, self._pictures.prepared(frame))
        assert self._settings.gops is not None
        group = bisect_right(self._settings.gops.starts, frame.pts) - 1
        return self._splicer.take(frame, changed=group in self._changed)

    def _write(self, packets: Iterable[AnyPacket]) -> None:
        assert self._writer is not None
        for packet in packets:
            copied = self._splicer is not None and self._splicer.done.runs[-1][0]
            self._writer.write(packet, copied=copied)

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self._path, error) from error
        except av.error.FFmpegError as error:
            raise DeviceError(
                f"{self.encoder} failed at frame {self.frames_encoded} of a piece "
                f"({error.strerror}); try another encode.codec"
            ) from error
