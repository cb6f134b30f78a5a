"""Everything in a file that is not the main picture, copied packet by packet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from io import BytesIO
from typing import Any, TypeAlias

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Disposition, Stream

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.subtitles import TEXTS, WRITTEN_AS, rewritten

AnyPacket: TypeAlias = "Packet[Any]"
ATTACHMENT_MUXERS = {"matroska"}
TIMECODE_MUXERS = {"mov", "mp4", "matroska"}
MOV_MUXERS = {"mov", "mp4"}
NO_WORDS = b"\0\0"
DAMAGED = (av.error.ArgumentError, av.error.InvalidDataError)
REFUSED = (av.error.FFmpegError, OSError, ValueError, NotImplementedError)


class SideStreams:
    """Copies sound, subtitles, covers, attachments and data from a source into an output.

    The source is a demuxer of its own, read only as far as the picture has got, so the packets take
    no memory however the streams are interleaved. Use on one thread.

    Args:
        source: opened for this alone; closing it is the caller's business.
        output: not started yet.
        muxer: libav's name of the output's format.

    Attributes:
        left_out: in words, the streams that the output's format cannot hold.
        counted: packets copied so far, of output streams that an AVI tells the time of by packets.
        dropped: per output stream, packets with time stamps so damaged that no muxer takes them.
    """

    def __init__(self, source: InputContainer, output: OutputContainer, muxer: str) -> None:
        self._source = source
        self._output = output
        self._muxer = muxer
        self._copies: dict[int, Stream] = {}
        self._gapped: set[int] = set()
        self._translated: dict[int, str] = {}
        self._packets: Iterator[AnyPacket] = iter(())
        self._pending: AnyPacket | None = None
        self.left_out: list[str] = []
        self.dropped: dict[int, int] = {}
        self.counted: dict[int, int] = {}

    def add(self, stream: Stream) -> None:
        """Give the output a stream like this one of the source, or note that it cannot have it."""
        if isinstance(stream, AttachmentStream):
            if self._muxer in ATTACHMENT_MUXERS:
                name = stream.name or f"attachment-{stream.index}"
                kind = stream.mimetype or "application/octet-stream"
                self._output.add_attachment(name, kind, stream.data)
            else:
                self._leave_out(stream, "this container holds no attachments")
            return
        by_packets = self._muxer == "avi" and stream.type == "audio" and not _counts_bytes(stream)
        if by_packets and self._source.format.name != "avi":
            raise InputError(
                f"an AVI file loses the timing of copied {stream.codec_context.name} sound; "
                "give the output another extension, such as .mkv",
                kind="unsupported",
            )
        obstacle = _obstacle(stream, self._muxer)
        if obstacle is not None and self._translates(stream):
            wanted = WRITTEN_AS[self._muxer]
            copy: Stream = self._output.add_mux_stream(wanted)
            self._translated[stream.index] = stream.codec_context.codec.canonical_name
            self._leave_out(stream, f"written as {wanted}, its times and words without styling")
        elif obstacle is not None:
            if not self._written_anew(stream):
                self._leave_out(stream, obstacle)
            return
        else:
            copy = self._output.add_stream_from_template(stream)
        if stream.time_base is not None:
            copy.time_base = stream.time_base
        copy.metadata.update(titled(stream.metadata))
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy
        if by_packets:
            self.counted[copy.index] = 0
        if stream.type == "subtitle" and stream.index not in self._translated:
            self._gapped.add(stream.index)

    def start(self) -> None:
        """Begin to read, once every stream was added."""
        self._packets = self._read()
        self._pending = next(self._packets, None)

    def mux_until(self, seconds: float | None) -> None:
        """Copy the packets that come before a moment; all that are left for None."""
        while self._pending is not None:
            packet = self._pending
            if seconds is not None and seconds_of(packet) > seconds:
                return
            copy = self._copies[packet.stream_index]
            if packet.stream_index in self._translated:
                packet = self._translation(packet)
            packet.stream = copy
            try:
                self._output.mux_one(packet)
                if copy.index in self.counted:
                    self.counted[copy.index] += 1
            except DAMAGED:
                self.dropped[copy.index] = self.dropped.get(copy.index, 0) + 1
            self._pending = next(self._packets, None)

    def _translates(self, stream: Stream) -> bool:
        return (
            stream.type == "subtitle"
            and self._muxer in WRITTEN_AS
            and stream.codec_context.codec.canonical_name in TEXTS
        )

    def _words(self, packet: AnyPacket) -> bytes | None:
        codec = self._translated[packet.stream_index]
        return rewritten(bytes(packet), codec, WRITTEN_AS[self._muxer])

    def _translation(self, packet: AnyPacket) -> AnyPacket:
        other: AnyPacket = Packet(self._words(packet))
        other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
        other.time_base = packet.time_base
        other.is_keyframe = True
        return other

    def close(self) -> None:
        self._packets = iter(())
        self._pending = None
        self._copies.clear()

    def _written_anew(self, stream: Stream) -> bool:
        """Whether the muxer makes such a stream itself: of chapters, and of a time code's tag."""
        if stream.type != "data":
            return False
        chapters = stream.name == "bin_data" and bool(self._source.chapters())
        return chapters or ("timecode" in stream.metadata and self._muxer in TIMECODE_MUXERS)

    def _leave_out(self, stream: Stream, why: str) -> None:
        self.left_out.append(f"{stream.type} stream {stream.index}: {why}")

    def _read(self) -> Iterator[AnyPacket]:
        if not self._copies:
            return
        for stream in self._source.streams:
            if stream.index not in self._copies:
                stream.discard = Discard.all
        for packet in self._source.demux():
            if packet.stream_index not in self._copies or not packet.size:
                continue
            if packet.dts is None and packet.stream.disposition & Disposition.attached_pic:
                packet.pts = packet.dts = 0  # a cover belongs to no moment
            if packet.stream_index in self._gapped and bytes(packet) == NO_WORDS:
                continue  # what ends a subtitle, which the muxer writes itself
            if packet.stream_index in self._translated and self._words(packet) is None:
                continue
            if packet.dts is not None:
                yield packet


def titled(metadata: Mapping[str, str]) -> dict[str, str]:
    """A stream's tags for any muxer: what MOV reads as `name` it writes from `title`."""
    name = {"title": metadata["name"]} if "name" in metadata and "title" not in metadata else {}
    return {key: value for key, value in metadata.items() if not (name and key == "name")} | name


def _counts_bytes(stream: Stream) -> bool:
    """Whether AVI can tell the time of this sound: by bytes, or by frames of a fixed size."""
    name = stream.codec_context.name
    return name.startswith(("pcm_", "mp3", "mp2"))


def _obstacle(stream: Stream, muxer: str) -> str | None:
    """Why a format cannot hold a stream, found by writing a header for it alone; None if it can."""
    if stream.type == "data" and stream.name is None:
        return "its codec is unknown"
    try:
        with av.open(BytesIO(), "w", format=muxer) as trial:
            copy = trial.add_stream_from_template(stream)
            copy.disposition = stream.disposition
            trial.start_encoding()
    except av.error.FFmpegError:  # its words are about the trial, which nobody asked for
        return f"a {muxer} file cannot hold it"
    except REFUSED as error:
        return str(error)
    return None


def seconds_of(packet: AnyPacket) -> float:
    """When a packet, which must have a dts, is decoded."""
    assert packet.dts is not None
    base = packet.time_base
    return float(packet.dts * Fraction(base.numerator, base.denominator))
