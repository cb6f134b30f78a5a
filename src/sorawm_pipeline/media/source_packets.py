"""The packets of a clip's main picture, read once and in order by a demuxer of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import dropwhile, islice
from pathlib import Path

from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.claims import Checked
from sorawm_pipeline.media.clip import ClipInfo, Limits, open_input
from sorawm_pipeline.media.side_streams import AnyPacket


class SourcePackets:
    """Reads only as far as it is asked to, so packets take no memory. Use on one thread.

    Args:
        start: pts of the key frame to begin with; None: the first packet.
        checked: as of `open_input`.

    Attributes:
        stream: the source's, whose decoder is not used by anybody else.
    """

    def __init__(
        self,
        path: Path,
        stream_index: int,
        limits: Limits,
        start: int | None = None,
        checked: Checked | None = None,
    ) -> None:
        self._container: InputContainer = open_input(path, limits, checked=checked)
        stream = self._container.streams[stream_index]
        if not isinstance(stream, VideoStream):
            self._container.close()
            raise InputError(f"{path} changed while it was being read")
        self.stream = stream
        stream.thread_type = "SLICE"
        for other in self._container.streams:
            if other.index != stream_index:
                other.discard = Discard.all
        self._packets = self._read()
        if start is not None:
            self._container.seek(start, stream=stream)
            self._packets = dropwhile(lambda packet: packet.pts != start, self._packets)

    @classmethod
    def of(cls, clip: ClipInfo, limits: Limits, start: int | None = None) -> SourcePackets:
        """Those of a clip that was probed."""
        return cls(clip.path, clip.stream_index, limits, start, clip.checked)

    def take(self, count: int | None = None) -> Iterator[AnyPacket]:
        """The next `count` packets, or all that are left."""
        return islice(self._packets, count)

    def close(self) -> None:
        self._packets = iter(())
        self._container.close()

    def _read(self) -> Iterator[AnyPacket]:
        for packet in self._container.demux(self.stream):
            if packet.size:
                yield packet
