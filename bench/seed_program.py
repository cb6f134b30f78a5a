"""The program that this one replaces, as it was published: one thread, every frame in memory.

1. decode all frames, as BGR;
2. YOLO11s in torch at 640 on each;
3. for each frame with a mark, crop its box with 128 px around it, and let LaMa fill it;
4. encode all frames with x264, preset slow;
5. merge the sound in, in a pass of its own.

Networks have random weights of the same architectures, and the boxes are given: the time is the
same. `SeedProgram` is told what to look with, what to fill with and how to encode, so that the same
algorithm can be measured with this program's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box

Pixels = NDArray[np.uint8]
Look = Callable[[Pixels], object]
Fill = Callable[[Pixels, Box], Pixels]

PUBLISHED = {"preset": "slow", "crf": "18"}
MARGIN = 128
"""Pixels around a mark that LaMa is shown."""


@dataclass
class SeedProgram:
    """The algorithm, and what it is made of.

    Attributes:
        look: inference on one BGR frame (h, w, 3); what it finds is not used.
        fill: a BGR frame with what is under the box restored.
        encoder: options of x264.
        seconds: spent in each step, all runs together.
    """

    look: Look
    fill: Fill
    encoder: Mapping[str, str]
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, clip: Path, output: Path, boxes: Sequence[Box | None], limit: int | None) -> int:
        """Clean the first `limit` frames of a clip, all of them if None; return how many."""
        with self._timed("decode"):
            frames, rate = decoded(clip, limit)
        with self._timed("detect"):
            for frame in frames:
                self.look(frame)
        with self._timed("fill"):
            for index, (frame, box) in enumerate(zip(frames, boxes, strict=False)):
                if box is not None:
                    frames[index] = self.fill(frame, box)
        silent = output.with_suffix(".silent.mp4")
        with self._timed("encode"):
            encode(frames, silent, rate, self.encoder)
        with self._timed("merge"):
            merge(silent, clip, output)
        return len(frames)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - began


def decoded(clip: Path, limit: int | None) -> tuple[list[Pixels], Fraction]:
    """The frames of a clip as BGR (h, w, 3), and their rate."""
    frames: list[Pixels] = []
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            frames.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
            if len(frames) == limit:
                break
        return frames, Fraction(stream.average_rate or 30)


def encode(frames: list[Pixels], path: Path, rate: Fraction, options: Mapping[str, str]) -> None:
    """x264 at a constant rate, 8-bit 4:2:0."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=dict(options))
        stream.codec_context.thread_type = "AUTO"  # as ffmpeg does: frames, not slices
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))


def merge(silent: Path, source: Path, output: Path) -> None:
    """The picture of one file and the sound of another, copied into a third."""
    with (
        av.open(str(silent)) as pictures,
        av.open(str(source)) as sounds,
        av.open(str(output), "w") as target,
    ):
        parts = (pictures, pictures.streams.video), (sounds, sounds.streams.audio)
        # All of them first: libav dies of a stream that is added once packets were written.
        copies: dict[Stream, Stream] = {
            stream: target.add_stream_from_template(stream)
            for _, streams in parts
            for stream in streams
        }
        for container, streams in parts:
            for packet in container.demux(*streams) if streams else ():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    target.mux_one(packet)
    silent.unlink()


def yolo11s() -> Look:
    """Inference with YOLO11s, random weights, in torch, as Ultralytics runs it."""
    from sorawm_pipeline.vision.ultralytics_backend import prepare_libraries

    prepare_libraries()
    from ultralytics import YOLO

    model = YOLO("yolo11s.yaml", verbose=False)

    def look(frame: Pixels) -> object:
        return model.predict(frame, imgsz=640, device="cpu", verbose=False, conf=0.9)

    return look


def lama() -> Fill:
    """A fill by a network of LaMa's size, random weights, in torch."""
    import torch
    from lama_size import MODULO, LamaSized

    torch.manual_seed(0)
    network = LamaSized().eval()

    def fill(frame: Pixels, box: Box) -> Pixels:
        height, width = frame.shape[:2]
        shown = box.grown(MARGIN).clipped(width, height)
        rows, columns = shown.within(Box(0, 0, width, height))
        part = frame[rows, columns, ::-1].astype(np.float32) / 255
        mask = np.zeros((*part.shape[:2], 1), np.float32)
        mask[box.clipped(width, height).within(shown)] = 1
        given = np.concatenate([part * (1 - mask), mask], axis=2).transpose(2, 0, 1)
        sides = [(0, 0), *((0, -side % MODULO) for side in given.shape[1:])]
        with torch.inference_mode():
            out = network(torch.from_numpy(np.pad(given, sides, "symmetric")[None]))[0]
        painted = out.permute(1, 2, 0).numpy()[: part.shape[0], : part.shape[1]]
        whole = part * (1 - mask) + painted * mask
        cleaned = frame.copy()
        cleaned[rows, columns] = np.rint(whole[..., ::-1] * 255).astype(np.uint8)
        return cleaned

    return fill
