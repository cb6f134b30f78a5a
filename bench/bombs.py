"""Files that are small and ask for much, and what refusing them costs.

    python bench/bombs.py             # what the program does
    python bench/bombs.py --believe   # what libav alone does with one of them

One process tries to clean them one by one, as the program would. Prints for each the kind of the
refusal, its seconds, and by how much memory grew beyond what the process had before.
"""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from sorawm_pipeline import Pipeline
from sorawm_pipeline.errors import PipelineError

BILLION = 1_000_000_000
STREAMS = 1_000
SIDE = 16_000
BELIEVED = 80_000_000
DAY = 86_400


def huge(path: Path) -> Path:
    """One grey picture of 16000x16000, H.264."""
    with av.open(str(path), "w") as output:
        stream = _video(output, SIDE)
        picture = av.VideoFrame(SIDE, SIDE, "yuv420p")
        for plane in picture.planes:
            np.frombuffer(memoryview(plane), np.uint8)[:] = 128
        picture.pts = 0
        output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def disguised(path: Path) -> Path:
    """The same, but every header of the container says 64x64."""
    data = huge(path).read_bytes()
    small, large = struct.pack(">HH", 64, 64), struct.pack(">HH", SIDE, SIDE)
    data = data.replace(large, small)
    path.write_bytes(data.replace(struct.pack(">II", SIDE << 16, SIDE << 16), bytes(8)))
    return path


def long(path: Path) -> Path:
    """Three pictures, each a day after the one before."""
    return _plain(path, pts=(0, DAY * 25, 2 * DAY * 25))


def believed_frames(path: Path) -> Path:
    """As many frames as libav makes room for: 80 million, of which it lists all."""
    return many_frames(path, BELIEVED)


def many_frames(path: Path, frames: int = BILLION) -> Path:
    """An MP4 whose index claims 10^9 frames of one size in one chunk."""
    data = _plain(path).read_bytes()
    count = struct.pack(">I", frames)
    data = _box(data, b"stsz", struct.pack(">II", 0, 1) + count)
    data = _box(data, b"stts", struct.pack(">II", 0, 1) + count + struct.pack(">I", 1))
    data = _box(data, b"stsc", struct.pack(">IIII", 0, 1, 1, frames) + struct.pack(">I", 1))
    path.write_bytes(data)
    return path


def many_times(path: Path) -> Path:
    """An MP4 whose table of durations claims 10^9 frames."""
    data = _plain(path).read_bytes()
    path.write_bytes(_box(data, b"stts", struct.pack(">IIII", 0, 1, BILLION, 1)))
    return path


def believed_run(path: Path) -> Path:
    """A fragment's run of 80 million frames that are all alike, and so take no bytes."""
    data = bytearray(_plain(path, movflags="frag_keyframe+empty_moov").read_bytes())
    at = data.index(b"trun") + 4
    data[at : at + 8] = struct.pack(">II", 1, BELIEVED)
    path.write_bytes(data)
    return path


def many_fragment_frames(path: Path) -> Path:
    """A fragmented MP4 one of whose runs claims 10^9 frames."""
    data = bytearray(_plain(path, movflags="frag_keyframe+empty_moov").read_bytes())
    at = data.index(b"trun") + 8
    data[at : at + 4] = struct.pack(">I", BILLION)
    path.write_bytes(data)
    return path


def many_avi_frames(path: Path) -> Path:
    """An AVI whose headers claim 10^9 frames."""
    data = bytearray(_plain(path).read_bytes())
    for at in (data.index(b"avih") + 24, data.index(b"strh") + 40):
        data[at : at + 4] = struct.pack("<I", BILLION)
    path.write_bytes(data)
    return path


def many_streams(path: Path) -> Path:
    """A thousand streams, of which one is a picture."""
    with av.open(str(path), "w") as output:
        video = _video(output, 64)
        others = [_other(output) for _ in range(STREAMS - 1)]
        output.start_encoding()
        for picture in _pictures((0, 1)):
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        for stream in others:
            packet: Packet[Any] = Packet(bytes(64))
            packet.stream = stream
            packet.pts = packet.dts = 0
            output.mux(packet)
    return path


def _other(output: av.container.OutputContainer) -> Stream:
    return output.add_mux_stream("mp2", rate=48_000)


def _plain(path: Path, pts: tuple[int, ...] = (0, 1), **muxing: str) -> Path:
    with av.open(str(path), "w", container_options=muxing) as output:
        stream = _video(output, 64)
        for picture in _pictures(pts):
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def _video(output: av.container.OutputContainer, side: int) -> VideoStream:
    options = {"preset": "ultrafast", "crf": "40"}
    stream = output.add_stream("libx264", rate=25, options=options)
    assert isinstance(stream, VideoStream)
    stream.width = stream.height = side
    stream.pix_fmt = "yuv420p"
    return stream


def _pictures(pts: tuple[int, ...]) -> list[av.VideoFrame]:
    pictures = []
    for moment in pts:
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
        picture.pts = moment
        pictures.append(picture)
    return pictures


def _box(data: bytes, kind: bytes, body: bytes) -> bytes:
    """`body` in place of a box of the same size or larger; what is left over becomes free space."""
    start = data.index(kind) - 4
    size = int.from_bytes(data[start : start + 4])
    left = size - 8 - len(body)
    filler = b"" if left == 0 else struct.pack(">I4s", left, b"free") + bytes(left - 8)
    box = struct.pack(">I4s", size - left, kind) + body + filler
    return data[:start] + box + data[start + size :]


BOMBS: dict[str, Callable[[Path], Path]] = {
    "huge.mp4": huge,
    "huge.mkv": huge,
    "huge.ts": huge,
    "huge.avi": huge,
    "disguised.mp4": disguised,
    "long.mp4": long,
    "long.mkv": long,
    "many-frames.mp4": many_frames,
    "believed-frames.mp4": believed_frames,
    "many-times.mp4": many_times,
    "believed-run.mp4": believed_run,
    "many-fragment-frames.mp4": many_fragment_frames,
    "many-frames.avi": many_avi_frames,
    "many-streams.mp4": many_streams,
    "many-streams.mkv": many_streams,
    "many-streams.ts": many_streams,
}


class Cost(NamedTuple):
    """What refusing a file cost; `cpu_s` does not count what others did meanwhile."""

    kind: str
    message: str
    wall_s: float
    cpu_s: float
    grown_bytes: int


def measured(paths: Sequence[Path]) -> list[Cost]:
    """What refusing each file costs a process that did nothing else."""
    command = [sys.executable, __file__, "--refuse", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return [Cost(*fields) for fields in json.loads(done.stdout.splitlines()[-1])]


def believed(path: Path) -> Cost:
    """What it costs to let libav open a file that nobody looked at; some gigabytes."""
    before = _reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    av.open(f"file:{path}").close()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost("opened", f"{path} was opened", wall, cpu, _status("VmHWM") - before)


def _refusals(paths: Sequence[Path]) -> None:
    """In the child: look at each file, and say what that took."""
    pipeline = Pipeline()
    costs = []
    for path in paths:
        before = _reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            asyncio.run(pipeline.process(path, path.with_name(f"out-{path.name}")))
            kind, message = "", f"{path} was cleaned"
        except PipelineError as error:
            kind, message = error.kind, error.message
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        costs.append(Cost(kind, message, wall, cpu, _status("VmHWM") - before))
    print(json.dumps(costs))


def _reset_peak() -> int:
    """Bytes that the process has now; its peak is counted from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) << 10


def main() -> None:
    if sys.argv[1:2] == ["--refuse"]:
        _refusals([Path(name) for name in sys.argv[2:]])
        return
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1:2] == ["--believe"]:
            path = believed_frames(Path(folder, "believed-frames.mp4"))
            _tell(path, believed(path))
            return
        paths = [make(Path(folder, name)) for name, make in BOMBS.items()]
        for path, cost in zip(paths, measured(paths), strict=True):
            _tell(path, cost)


def _tell(path: Path, cost: Cost) -> None:
    print(
        f"{path.name:26} {path.stat().st_size / 1e3:6.0f} kB {cost.wall_s:7.3f} s "
        f"{cost.grown_bytes / 1e6:+7.1f} MB  {cost.kind}: {cost.message}"
    )


if __name__ == "__main__":
    main()
