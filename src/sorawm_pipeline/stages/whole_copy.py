"""A clip in which nothing is changed, copied packet for packet."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path

from av.container import OutputContainer
from av.video.stream import VideoStream

from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.gops import Gops
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.source_packets import SourcePackets
from sorawm_pipeline.stages.picture_encoder import EncodeSettings, true_tags
from sorawm_pipeline.stages.result_file import ResultFile
from sorawm_pipeline.stages.splice import Spliced

PACKETS = 500
"""Packets that a step copies at most, so that nobody waits for it for long."""


class WholeCopy:
    """Writes the packets of a clip's picture into a file of their own, under the same header.

    Use on one thread.

    Args:
        gops: the clip's groups of pictures.

    Attributes:
        done: what was copied.
    """

    def __init__(
        self, clip: ClipInfo, limits: Limits, target: Path, settings: EncodeSettings, gops: Gops
    ) -> None:
        self._clip = clip
        self._limits = limits
        self._target = target
        self._file = ResultFile(clip, limits, target, settings)
        self._source: SourcePackets | None = None
        self._first_dts = deque(gops.first_dts)
        self._expected = sum(gops.packets)
        self.done = Spliced(len(gops.starts))

    @property
    def left_out(self) -> list[str]:
        return self._file.left_out

    def open(self) -> None:
        """Raises InputError, OutputError or DeviceError: a file cannot be opened or made."""
        clip = self._clip
        self._source = SourcePackets.of(clip, self._limits)
        self._file.open(self._add_picture)

    def step(self) -> bool:
        """Copy on for a while; False when the file is written and checked.

        Raises:
            OutputError: the disk refuses.
            Unfit: the file does not hold what was written into it.
        """
        assert self._source is not None
        left = PACKETS
        with self._file.failures_told(lambda: self.done.copied_frames):
            for packet in self._source.take(PACKETS):
                if self._first_dts:
                    packet.dts = self._first_dts.popleft()
                self.done.count(packet, copied=True)
                self._file.mux(packet)
                left -= 1
            if not left:
                return True
            if self.done.copied_frames != self._expected:
                raise Unfit("packets are missing where they were found before")
            self._file.finish()
        self.done.copied_gops = self.done.gops
        self.done.check(self._target, self._file.track, self._limits)
        return False

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._file.close()

    def _add_picture(self, output: OutputContainer, metadata: Mapping[str, str]) -> VideoStream:
        assert self._source is not None
        stream = output.add_stream_from_template(self._source.stream)
        assert isinstance(stream, VideoStream)
        stream.metadata.update(true_tags(metadata))
        return stream
