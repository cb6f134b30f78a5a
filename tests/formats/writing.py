"""Small clips with oddities, written packet by packet with PyAV."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from tests.clips import HEIGHT, MARK, WIDTH, scene

FFMPEG = shutil.which("ffmpeg")


@dataclass(frozen=True)
class Sound:
    """A sound track beside the picture; `later` is when it begins, in seconds."""

    codec: str = "aac"
    language: str | None = None
    title: str | None = None
    disposition: int = 0
    later: Fraction = Fraction(0)
    rate: int = 48_000


@dataclass(frozen=True)
class Text:
    """A subtitle or data track of whole packets: (seconds, lasting, bytes)."""

    codec: str
    packets: Sequence[tuple[Fraction, Fraction, bytes]]
    language: str | None = None
    disposition: int = 0
    data: bool = False


@dataclass(frozen=True)
class Written:
    """What to write; the defaults are a plain clip whose every frame is marked.

    Attributes:
        fields: libav's field order, `tt` or `bb`, for interlaced pictures.
        late: ticks of the time base that every picture comes later.
        prepare: last touches to container and video stream before the first packet.
    """

    codec: str = "libx264"
    pixels: str = "yuv420p"
    size: tuple[int, int] = (WIDTH, HEIGHT)
    frames: int = 15
    rate: Fraction = Fraction(25)
    base: Fraction | None = None
    pts: Sequence[int] | None = None
    late: int = 0
    options: dict[str, str] = field(default_factory=dict)
    muxing: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    fields: str | None = None
    matrix: tuple[int, ...] | None = None
    aspect: Fraction | None = None
    colour: tuple[int, int, int, int] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    sounds: Sequence[Sound] = ()
    texts: Sequence[Text] = ()
    chapters: Sequence[str] = ()
    attachments: Sequence[tuple[str, str, bytes]] = ()
    cover: bool = False
    prepare: Callable[[OutputContainer, VideoStream], None] | None = None

    def __call__(self, path: Path) -> Path:
        base = self.base or 1 / self.rate
        with av.open(
            str(path), "w", format=self.format, container_options=dict(self.muxing)
        ) as output:
            output.metadata.update(self.tags)
            video = self._video(output, base)
            sounds = [(sound, _sound(output, sound)) for sound in self.sounds]
            texts = [(text, _text(output, text)) for text in self.texts]
            cover = _cover(output) if self.cover else None
            for name, kind, content in self.attachments:
                output.add_attachment(name, kind, content)
            if self.chapters:
                output.set_chapters(self._chapters())
            if self.prepare is not None:
                self.prepare(output, video)
            output.start_encoding()
            if cover is not None:
                output.mux(cover.encode(_frame((64, 64), 0, "yuvj420p", 0, Fraction(1, 25))))
                output.mux(cover.encode(None))
            for text, stream in texts:
                for packet in _packets(text, stream):
                    output.mux(packet)
            self._pictures(output, video, base)
            for sound, stream in sounds:
                _play(output, stream, sound, self.late * base + self.frames / self.rate)
        return path

    def _video(self, output: OutputContainer, base: Fraction) -> VideoStream:
        video = output.add_stream(self.codec, rate=self.rate, options=self._options())
        assert isinstance(video, VideoStream)
        video.width, video.height = self.size
        video.pix_fmt = self.pixels
        video.codec_context.time_base = base
        video.time_base = base
        video.metadata.update(self.labels)
        if self.aspect is not None:
            video.sample_aspect_ratio = self.aspect
            video.codec_context.sample_aspect_ratio = self.aspect
        if self.matrix is not None:
            video.set_display_matrix(self.matrix)
        if self.colour is not None:
            context = video.codec_context
            context.color_primaries, context.color_trc = self.colour[:2]
            context.colorspace, context.color_range = self.colour[2:]
        return video

    def _options(self) -> dict[str, str]:
        quick = {
            "libx264": {"preset": "ultrafast", "crf": "10"},
            "libx265": {"preset": "ultrafast", "crf": "12", "x265-params": "log-level=error"},
            "libsvtav1": {"preset": "12", "crf": "20"},
            "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"},
            "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "2M"},
        }.get(self.codec, {"b": "4M"})
        options = quick | self.options
        if self.codec == "libx265":
            given = self.options.get("x265-params", "")
            options["x265-params"] = "log-level=error" + (f":{given}" if given else "")
        if self.fields is not None:
            options |= {"flags": "+ildct+ilme", "field_order": self.fields}
        return options

    def _chapters(self) -> list[Any]:
        return [
            {
                "id": n + 1,
                "start": n * 200,
                "end": n * 200 + 200,
                "time_base": Fraction(1, 1000),
                "metadata": {"title": title},
            }
            for n, title in enumerate(self.chapters)
        ]

    def _pictures(self, output: OutputContainer, video: VideoStream, base: Fraction) -> None:
        step = round(1 / (self.rate * base))
        scanned = _scanner(self.fields, self.size, self.pixels, base) if self.fields else None
        for index in range(self.frames):
            pts = self.late + (self.pts[index] if self.pts else index * step)
            frame = _frame(self.size, index, self.pixels, pts, base)
            if scanned is not None:
                frame = scanned(frame)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))


def _frame(
    size: tuple[int, int], index: int, pixels: str, pts: int, base: Fraction
) -> av.VideoFrame:
    picture = scene(index, *size)
    picture[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1] = 255
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
    frame.pts, frame.time_base = pts, base
    return frame


def _scanner(
    order: str, size: tuple[int, int], pixels: str, base: Fraction
) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """Flags pictures as two fields."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=size[0], height=size[1], format=av.VideoFormat(pixels), time_base=base
    )
    mode = graph.add("setfield", "tff" if order == "tt" else "bff")
    sink = graph.add("buffersink")
    source.link_to(mode)
    mode.link_to(sink)
    graph.configure()

    def scanned(frame: av.VideoFrame) -> av.VideoFrame:
        graph.push(frame)
        pulled = graph.pull()
        assert isinstance(pulled, av.VideoFrame)
        return pulled

    return scanned


def _cover(output: OutputContainer) -> VideoStream:
    cover = output.add_stream("mjpeg", rate=25)
    assert isinstance(cover, VideoStream)
    cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
    cover.disposition = av.stream.Disposition.attached_pic
    return cover


def _sound(output: OutputContainer, sound: Sound) -> Stream:
    stream = output.add_stream(sound.codec, rate=sound.rate, layout="mono")
    if sound.language:
        stream.metadata["language"] = sound.language
    if sound.title:
        stream.metadata["title"] = sound.title
    if sound.disposition:
        stream.disposition = av.stream.Disposition(sound.disposition)
    return stream


def _play(output: OutputContainer, stream: Any, sound: Sound, seconds: Fraction) -> None:
    """Noise from when the track begins to the end of the picture."""
    context = stream.codec_context
    count = context.frame_size or 1024
    offset = round(sound.later * sound.rate)
    total = round(seconds * sound.rate)
    for number, at in enumerate(range(offset, total, count)):
        noise = np.random.default_rng(number).integers(-9000, 9000, (1, count)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = sound.rate, at, Fraction(1, sound.rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _text(output: OutputContainer, text: Text) -> Stream:
    if text.data:
        stream: Stream = output.add_data_stream(text.codec)
    else:
        stream = output.add_mux_stream(text.codec)
    stream.time_base = Fraction(1, 1000)
    if text.language:
        stream.metadata["language"] = text.language
    if text.disposition:
        stream.disposition = av.stream.Disposition(text.disposition)
    return stream


def _packets(text: Text, stream: Stream) -> Iterator[Packet[Any]]:
    for start, lasting, content in text.packets:
        packet: Packet[Any] = Packet(content)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(start * 1000)
        packet.duration = round(lasting * 1000)
        packet.is_keyframe = True
        yield packet


def copied(
    source: Path, target: Path, *, moved: Fraction = Fraction(0), muxing: str = "", skip: int = 0
) -> Path:
    """The same packets in another file, moved in time, without the first `skip` pictures."""
    options = {"movflags": muxing} if muxing else {}
    with av.open(str(source)) as before, av.open(str(target), "w", options=options) as after:
        streams = {}
        for stream in before.streams:
            streams[stream.index] = after.add_stream_from_template(stream, opaque=True)
            streams[stream.index].metadata.update(stream.metadata)
        after.metadata.update(before.metadata)
        pictures = 0
        for packet in before.demux():
            if packet.dts is None:
                continue
            pictures += packet.stream.type == "video"
            if packet.stream.type == "video" and pictures <= skip:
                continue
            ticks = round(moved / Fraction(packet.time_base))
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts += ticks
            packet.stream = streams[packet.stream_index]
            after.mux(packet)
    return target


def ffmpeg(*arguments: str | Path) -> None:
    """Debian's program, where PyAV cannot write what is wanted.

    Raises:
        pytest.skip.Exception: it is not installed.
    """
    if FFMPEG is None:
        pytest.skip("the ffmpeg program is not installed")
    command = [FFMPEG, "-v", "error", "-y", "-nostdin", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def patched(path: Path, *changes: tuple[bytes, int, bytes]) -> Path:
    """Bytes of a file overwritten: behind a marker, at an offset from where the marker begins."""
    data = bytearray(path.read_bytes())
    for marker, offset, value in changes:
        at = data.index(marker) + offset
        data[at : at + len(value)] = value
    path.write_bytes(data)
    return path
