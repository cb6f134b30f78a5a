"""Groups of pictures without a change, copied packet for packet beside re-encoded ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from zlib import crc32

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from sorawm_pipeline.media.clip import ClipInfo, Limits
from sorawm_pipeline.media.frame import Frame
from sorawm_pipeline.media.gops import Gops, Walk
from sorawm_pipeline.media.parameter_sets import (
    H264_PROFILES,
    Unfit,
    join,
    merged_header,
    parameter_sets,
    renumbered,
    split,
)
from sorawm_pipeline.media.releases import TAG_DECODING
from sorawm_pipeline.media.side_streams import AnyPacket
from sorawm_pipeline.media.source_packets import SourcePackets
from sorawm_pipeline.stages.picture_encoder import PictureEncoder


@dataclass(slots=True)
class Spliced:
    """What became of the groups, and a checksum of what was copied.

    Attributes:
        gops, copied_gops, copied_frames: counts.
        runs: how many packets were written copied and re-encoded by turns, and which.
        checksum: of all bytes that were copied, in their order.
    """

    gops: int
    copied_gops: int = 0
    copied_frames: int = 0
    runs: list[tuple[bool, int]] = field(default_factory=list)
    checksum: int = 0

    def count(self, packet: AnyPacket, *, copied: bool) -> None:
        """Take the next packet that is written into account."""
        if copied:
            self.copied_frames += 1
            self.checksum = crc32(packet, self.checksum)
        if self.runs and self.runs[-1][0] == copied:
            self.runs[-1] = copied, self.runs[-1][1] + 1
        else:
            self.runs.append((copied, 1))

    def check(self, path: Path, stream_index: int, limits: Limits) -> None:
        """Read the finished file's packets and compare them with what was written.

        Raises:
            Unfit: one is missing, or a copied one is not what it was.
        """
        checksum = 0
        with closing(SourcePackets(path, stream_index, limits)) as result:
            for copied, count in self.runs:
                missing = count
                for packet in result.take(count):
                    missing -= 1
                    checksum = crc32(packet, checksum) if copied else checksum
                if missing:
                    raise Unfit("packets are missing in the spliced file")
            if any(True for _ in result.take()) or checksum != self.checksum:
                raise Unfit("the container changes what is spliced into it")


class Splicer:
    """Turns frames into packets of which most are the source's own. Use on one thread.

    Frames without a change are not kept: where a group changes after all, those before the change
    are decoded once more from the packets.

    Args:
        gops: the groups of the clip.
        muxer: libav's name of the output's format.
        pictures: how what changes is encoded.
        start: pts of the key frame that the groups begin with; None: the stream's first.
    """

    def __init__(
        self,
        clip: ClipInfo,
        limits: Limits,
        gops: Gops,
        muxer: str,
        pictures: PictureEncoder,
        start: int | None = None,
    ) -> None:
        self._clip = clip
        self._gops = gops
        self._muxer = muxer
        self._pictures = pictures
        self._walk = Walk(gops.starts)
        self._source = SourcePackets.of(clip, limits, start)
        self._first_dts = deque(gops.first_dts)
        self._scratch: OutputContainer | None = None
        self._encoder: VideoStream | None = None
        self._dts: deque[int] = deque()
        self._starts = frozenset(gops.starts)
        self.done = Spliced(len(gops.starts))

    def add_stream(self, output: OutputContainer) -> VideoStream:
        """Give the output a stream like the source's whose header also fits what is re-encoded.

        Raises:
            Unfit: one header cannot describe both.
            InputError: the encoder does not take the clip.
        """
        stream = output.add_stream_from_template(self._source.stream)
        assert isinstance(stream, VideoStream)
        gops = self._gops
        if gops.unit_length is not None:
            encoder = self._new_encoder()
            ours = split(encoder.codec_context.extradata or b"", None)
            sets = parameter_sets(gops.codec, self._renumbered(ours))
            stream.codec_context.extradata = merged_header(gops.codec, gops.header, sets)
            self._drop_encoder()
        return stream

    def take(self, frame: Frame, *, changed: bool) -> Iterator[AnyPacket]:
        """The packets that follow from the next frame.

        Frames come in order of time; groups of which none is given are copied.

        Args:
            frame: given to be encoded, if it must be.
            changed: whether the frame's group cannot be copied.
        """
        for step, gop in self._walk.take(frame.pts, changed=changed):
            if step == "copy":
                yield from self._copy(gop)
            elif step == "change":
                yield from self._catch_up(gop, frame.pts)
            else:
                yield from self._encode(frame)

    def finish(self) -> Iterator[AnyPacket]:
        """The packets that are left after the last frame."""
        for _, gop in self._walk.finish():
            yield from self._copy(gop)
        yield from self._end_encoder()

    def close(self) -> None:
        self._drop_encoder()
        self._source.close()

    def _copy(self, gop: int) -> Iterator[AnyPacket]:
        yield from self._end_encoder()
        for packet in self._packets(gop):
            packet.dts = self._dts_of(packet)
            self.done.count(packet, copied=True)
            yield packet
        self.done.copied_gops += 1

    def _catch_up(self, gop: int, until: int) -> Iterator[AnyPacket]:
        """Encode the frames of a group that are shown before `until`."""
        behind = until > self._gops.starts[gop]
        decoder = self._source.stream.codec_context
        for packet in self._packets(gop):
            self._dts.append(self._dts_of(packet))
            if behind:
                pictures = packet.decode()
                behind = all((picture.pts or 0) < until for picture in pictures)
                yield from self._encode_all(pictures, until)
        if behind:
            yield from self._encode_all(decoder.decode(None), until)
        decoder.flush_buffers()

    def _packets(self, gop: int) -> Iterator[AnyPacket]:
        missing = self._gops.packets[gop]
        for packet in self._source.take(missing):
            missing -= 1
            yield packet
        if missing:
            raise Unfit("packets are missing where they were found before")

    def _encode_all(self, pictures: Sequence[VideoFrame], until: int) -> Iterator[AnyPacket]:
        for picture in pictures:
            pts = picture.pts
            if pts is not None and pts < until:
                if picture.format.name != self._clip.layout.name:
                    picture = picture.reformat(format=self._clip.layout.name)
                yield from self._encode(Frame(0, pts, picture.duration or 0, picture))

    def _encode(self, frame: Frame) -> Iterator[AnyPacket]:
        if self._encoder is None:
            self._encoder = self._new_encoder()
        picture = self._pictures.prepared(frame)
        if frame.pts in self._starts:
            picture.pict_type = PictureType.I
        for packet in self._encoder.encode(picture):
            yield self._fitted(packet)

    def _end_encoder(self) -> Iterator[AnyPacket]:
        if self._encoder is not None:
            for packet in self._encoder.encode(None):
                yield self._fitted(packet)
            self._drop_encoder()
            self._dts.clear()

    def _new_encoder(self) -> VideoStream:
        self._scratch = av.open(BytesIO(), "w", format=self._muxer, **TAG_DECODING)
        stream = self._pictures.add_stream(self._scratch, {})
        options = stream.codec_context.options
        options |= self._encoder_options(options)
        stream.codec_context.options = options
        self._pictures.open(stream)
        return stream

    def _encoder_options(self, options: dict[str, str]) -> dict[str, str]:
        """What makes the encoder's pictures fit between the source's.

        They must not be reordered more than those, for their decoding times are taken over.
        """
        gops, reorder = self._gops, self._gops.reorder
        if gops.codec == "h264":
            number = f"sps-id={gops.numbers.sps}"
            told = options.get("x264-params")
            ours = {"forced-idr": "1", "x264-params": f"{told}:{number}" if told else number}
            ours["bf"] = "0" if reorder == 0 else "3"
            if reorder == 1:
                ours["b-pyramid"] = "none"
            profile = H264_PROFILES.get(gops.header[1]) if gops.unit_length is not None else None
            return ours | ({"profile": profile} if profile else {})
        kept = options.get("x265-params", "log-level=error")
        depth = {0: ":bframes=0", 1: ":b-pyramid=0"}.get(reorder, "")
        return {"forced-idr": "1", "x265-params": f"{kept}:open-gop=0{depth}"}

    def _drop_encoder(self) -> None:
        self._encoder = None
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def _renumbered(self, units: Sequence[bytes]) -> list[bytes]:
        if self._gops.codec == "h264":
            return list(units)  # x264 was told the number
        return [renumbered(unit, self._gops.numbers) for unit in units]

    def _fitted(self, packet: AnyPacket) -> AnyPacket:
        """A packet of the encoder as the container's stream wants it."""
        units = self._renumbered(split(bytes(packet), None))
        fitted = Packet(join(units, self._gops.unit_length))
        fitted.pts, fitted.duration = packet.pts, packet.duration
        fitted.time_base = packet.time_base
        fitted.is_keyframe = packet.is_keyframe
        if not self._dts or packet.pts is None or self._dts[0] > packet.pts:
            raise Unfit("the encoder's pictures are reordered more than the source's")
        fitted.dts = self._dts.popleft()
        self.done.count(fitted, copied=False)
        return fitted

    def _dts_of(self, packet: AnyPacket) -> int:
        dts = self._first_dts.popleft() if self._first_dts else packet.dts
        assert dts is not None
        return dts
