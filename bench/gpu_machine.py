"""A simulated machine with a GPU: the real engine under a virtual clock. Nothing runs on a GPU.

    python bench/gpu_machine.py [--quick] [--output gpu-machine.json] [--plot gpu-machine.png]

Stages take the time that MACHINE says, on engines that serve one batch at a time: decoder (NVDEC),
encoder (NVENC), the copy engines to and from the GPU, and the GPU itself, which detection and
restoration share. As the program is built, frames lie in the host's memory and the temporal filter
runs on a core; in the second scenario both are on the GPU. Corridor, batch caps, sizes of queues
and bounds are the program's own; frames leave detection in bursts, as looks let them. A run is half
an hour of video, 54,000 frames with the mark in every one.

`bound` is the speed of the busiest engine if it never waited: what no schedule can exceed.
"""

from __future__ import annotations

import argparse
import json
import time as real_time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sorawm_pipeline.budget import AUTO_BATCH, AUTO_FILLS, Room
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import Corridor
from sorawm_pipeline.engine.virtual import VirtualTime
from sorawm_pipeline.hardware.batch_cap import BatchCap, Signals
from sorawm_pipeline.job import TRACK_WINDOW
from sorawm_pipeline.stages import detect as stages
from sorawm_pipeline.vision.see_through import SeeThrough
from sorawm_pipeline.vision.tracks import Tracks
from sorawm_pipeline.warm import AUTO_START

MIB = 1 << 20
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440), "4K": (3840, 2160)}
FRAMES = 54_000
CONFIG = PipelineConfig()
ROOM = Room(
    capacity=CONFIG.queues.capacity,
    detect_batch=AUTO_BATCH["cuda"],
    inpaint_batch=AUTO_FILLS["cuda"],
    stride=CONFIG.detect.stride,
    longest=AUTO_BATCH["cuda"],
)


@dataclass(frozen=True)
class Machine:
    """What it is made of. Where no source is named, the figure is an assumption.

    Attributes:
        decode_1080p, encode_1080p: frames per second of the fixed-function engines at 1080p; they
            scale with the number of pixels. Encoding: an RTX 2070 did 262 (rigaya/NVEnc issue 88).
        copy_bytes: bytes per second and direction over PCIe 3.0 x16 (of 15.75e9 by its
            specification).
        launch_s: of each batch, for launching its kernels and collecting the results.
        look_s: one picture through the detector. A YOLO11n of ten times its operations takes
            1.5 ms on a T4 (Ultralytics' tables).
        fill_s: one region of 1080p through both see-through networks.
        filter_cpu_s, filter_gpu_s: the temporal filter for one region of 1080p, on a core (4 ms
            were measured at 704x1280: bench/fill_cost.py) or as kernels.
        looks: share of the frames that is looked at (bench/sparse.py).
        memory: bytes of the GPU; taken: by models and other programs.
        look_bytes, fill_bytes: for one item of a batch.
    """

    decode_1080p: float = 700.0
    encode_1080p: float = 262.0
    copy_bytes: float = 12e9
    launch_s: float = 0.4e-3
    look_s: float = 1.0e-3
    fill_s: float = 0.6e-3
    filter_cpu_s: float = 9e-3
    filter_gpu_s: float = 0.8e-3
    looks: float = 1 / 12
    memory: int = 8192 * MIB
    taken: int = 3000 * MIB
    look_bytes: int = 24 * MIB
    fill_bytes: int = 40 * MIB


MACHINE = Machine()


@dataclass
class Engine:
    """Serves one at a time, in the order of asking; counts its busy seconds."""

    free_at: float = 0.0
    busy_s: float = 0.0

    def serve(self, seconds: float, since: float) -> float:
        """When something that asks at `since` is done."""
        self.busy_s += seconds
        self.free_at = max(self.free_at, since) + seconds
        return self.free_at


@dataclass
class Engines:
    """Of one machine, by name.

    Attributes:
        used: bytes of GPU memory that a batch under way takes.
    """

    time: VirtualTime
    machine: Machine
    by_name: dict[str, Engine] = field(default_factory=dict)
    used: int = 0
    samples: int = 0

    def spend(self, *steps: tuple[str, float]) -> None:
        """Go through steps (engine, seconds) one after the other, and let the caller wait."""
        at = began = self.time.now() + self.time.spent
        for name, seconds in steps:
            at = self.by_name.setdefault(name, Engine()).serve(seconds, at)
        self.time.spend(at - began)

    def signals(self) -> Signals:
        self.samples += 1
        free = self.machine.memory - self.machine.taken - self.used
        return Signals(self.samples, memory_free=max(0.0, free / self.machine.memory))

    def take(self, size: int) -> None:
        """Raises MemoryError, as CUDA would."""
        self.used = size
        if self.machine.taken + size > self.machine.memory:
            raise MemoryError("out of memory")


@dataclass
class Source:
    """Decodes on the fixed-function engine, and copies frames to the host unless they `stay`."""

    engines: Engines
    size: tuple[int, int]
    frames: int
    stay: bool
    name: str = "decode"
    held: int = 4
    given: int = 0

    def open(self) -> None: ...

    def read(self, limit: int) -> Sequence[int]:
        first = self.given
        self.given = min(self.frames, first + limit)
        count = self.given - first
        pixels = count * self.size[0] * self.size[1]
        machine = self.engines.machine
        steps = [("decoder", pixels / (machine.decode_1080p * 1920 * 1080))]
        if not self.stay:
            steps.append(("copy to host", 1.5 * pixels / machine.copy_bytes))
        self.engines.spend(*steps)
        return range(first, self.given)

    def close(self) -> None: ...


@dataclass
class Step:
    """A stage that keeps `held` frames back and gives `burst` at once when it gives."""

    engines: Engines
    size: tuple[int, int]
    name: str
    held: int
    burst: int = 1
    max_cap: int = ROOM.capacity
    waiting: deque[int] = field(default_factory=deque)

    def open(self) -> None: ...

    def cap(self) -> int:
        return self.max_cap

    @property
    def regions(self) -> float:
        """Pixels of a mark, beside those of a 1080p frame's: marks scale with the frame."""
        return (min(self.size) / 1080) ** 2

    def work(self, count: int) -> None:
        raise NotImplementedError

    def process(self, batch: Sequence[int]) -> list[int]:
        self.waiting.extend(batch)
        self.work(len(batch))
        out: list[int] = []
        while len(self.waiting) > self.held:
            out += [self.waiting.popleft() for _ in range(min(self.burst, len(self.waiting)))]
        return out

    def flush(self) -> list[int]:
        out, self.waiting = list(self.waiting), deque()
        return out

    def close(self) -> None: ...


@dataclass
class OnGpu(Step):
    """A stage whose batches grow and shrink with the GPU's memory."""

    item_bytes: int = 0
    most: int = 1
    batches: BatchCap | None = None
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.max_cap = self.most
        self.batches = BatchCap(self.max_cap, start=AUTO_START, signals=self.engines.signals)

    def cap(self) -> int:
        assert self.batches is not None
        return self.batches.cap()

    def run(self, count: int) -> None:
        """Take `count` items through the device, in as many batches as its memory asks for."""
        assert self.batches is not None

        def batch(items: Sequence[int]) -> Sequence[int]:
            self.engines.take(len(items) * self.item_bytes)
            self.sizes.append(len(items))
            self.compute(len(items))
            return items

        self.batches.run(batch, range(count))

    def compute(self, count: int) -> None:
        raise NotImplementedError


class Detect(OnGpu):
    """Lets go of the frames that a look settles, all at once, once tracks have seen beyond them."""

    due: float = 0.0

    def process(self, batch: Sequence[int]) -> list[int]:
        self.waiting.extend(batch)
        self.due += len(batch) * self.engines.machine.looks
        looks, self.due = int(self.due), self.due % 1
        if not looks:
            return []
        self.run(looks)
        settled = len(self.waiting) - Tracks.delay_for(TRACK_WINDOW)
        return [self.waiting.popleft() for _ in range(max(0, settled))]

    def compute(self, count: int) -> None:
        machine = self.engines.machine
        copied = count * 640 * 360 * 3 / machine.copy_bytes
        self.engines.spend(
            ("copy to GPU", copied), ("GPU", machine.launch_s + count * machine.look_s)
        )


class Inpaint(OnGpu):
    def work(self, count: int) -> None:
        self.run(count)

    def compute(self, count: int) -> None:
        machine = self.engines.machine
        copied = count * self.regions * 400 * 200 * 4 * 16 / 4 / machine.copy_bytes
        fills = machine.launch_s + count * machine.fill_s * self.regions
        self.engines.spend(("copy to GPU", copied), ("GPU", fills), ("copy to host", copied))


@dataclass
class Temporal(Step):
    """Filters each frame forward as it comes, and a whole window back at once.

    Attributes:
        gpu: whether it does so on the GPU.
        settled: frames at its end that are decided. They leave one by one, as in the program; or
            with `bursts` together, as they did once.
    """

    gpu: bool = False
    bursts: bool = False
    settled: int = 0

    def process(self, batch: Sequence[int]) -> list[int]:
        out: list[int] = []
        for frame in batch:
            self.waiting.append(frame)
            self.filter(1)
            if len(self.waiting) > self.held:
                if not self.settled:
                    self.filter(self.held)
                    self.settled = self.held // 2
                leaving = self.settled if self.bursts else 1
                out += [self.waiting.popleft() for _ in range(leaving)]
                self.settled -= leaving
        return out

    def filter(self, count: int) -> None:
        """One way; each frame goes forward once and, as half a window is settled, back twice."""
        machine = self.engines.machine
        if self.gpu:
            seconds = machine.launch_s + count * machine.filter_gpu_s * self.regions / 3
            self.engines.spend(("GPU", seconds))
        else:
            seconds = count * machine.filter_cpu_s * self.regions / 3
            self.engines.spend(("core of temporal", seconds))


@dataclass
class Sink(Step):
    """Checks that frames come in order, copies them to the GPU if need be, and encodes them."""

    stay: bool = False
    expected: int = 0

    def process(self, batch: Sequence[int]) -> list[int]:
        if list(batch) != list(range(self.expected, self.expected + len(batch))):
            raise ValueError(f"frame {batch[0]} came where {self.expected} was due")
        self.expected += len(batch)
        machine = self.engines.machine
        pixels = len(batch) * self.size[0] * self.size[1]
        steps = [] if self.stay else [("copy to GPU", 1.5 * pixels / machine.copy_bytes)]
        self.engines.spend(*steps, ("encoder", pixels / (machine.encode_1080p * 1920 * 1080)))
        return []


def simulate(
    name: str,
    frames: int,
    *,
    all_on_gpu: bool,
    machine: Machine = MACHINE,
    bursts: bool = False,
) -> dict[str, Any]:
    """One clip through the machine."""
    began = real_time.perf_counter()
    time = VirtualTime()
    engines = Engines(time, machine)
    size = SIZES[name]
    held = stages.Detect.held_for(ROOM.stride, TRACK_WINDOW)
    detect = Detect(
        engines, size, "detect", held, most=ROOM.detect_batch, item_bytes=machine.look_bytes
    )
    inpaint = Inpaint(
        engines,
        size,
        "inpaint",
        held=SeeThrough.together - 1,
        burst=SeeThrough.together,
        most=ROOM.inpaint_batch,
        item_bytes=machine.fill_bytes,
    )
    frame_bytes = size[0] * size[1] * 3 // 2
    window = CONFIG.temporal.window
    temporal = Temporal(engines, size, "temporal", held=window, gpu=all_on_gpu, bursts=bursts)
    sink = Sink(engines, size, "encode", held=32, stay=all_on_gpu)
    corridor = Corridor(
        Source(engines, size, frames, stay=all_on_gpu),
        [detect, inpaint, temporal, sink],
        capacity=ROOM.capacities,
        thread_factory=time.thread,
        clock=time.now,
    )
    time.run(corridor.run())
    snapshot = corridor.snapshot()
    busy = {engine: round(one.busy_s / time.now(), 4) for engine, one in engines.by_name.items()}
    bottleneck = max(busy, key=busy.__getitem__)
    return {
        "size": name,
        "frames_and_filter": "GPU" if all_on_gpu else "host",
        "frames": sink.expected,
        "fps": round(frames / time.now(), 1),
        "bound_fps": round(frames / engines.by_name[bottleneck].busy_s, 1),
        "share_of_bound": busy[bottleneck],
        "bottleneck": bottleneck,
        "utilisation": busy,
        "largest_batches": {s.name: max(s.sizes, default=0) for s in (detect, inpaint)},
        "live_frames": asdict(snapshot.live),
        "live_mib": round(snapshot.live.peak * frame_bytes / MIB),
        "real_seconds": round(real_time.perf_counter() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="3,000 frames")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    rows = []
    for all_on_gpu in (False, True):
        for name in SIZES:
            frames = 3000 if arguments.quick else FRAMES
            rows.append(simulate(name, frames, all_on_gpu=all_on_gpu))
            print(rows[-1], flush=True)
    if arguments.output:
        result = {"simulated": True, "machine": asdict(MACHINE), "runs": rows}
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.plot:
        plot(rows, arguments.plot)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(name for row in rows for name in row["utilisation"]))
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for ax, where in zip(axes, ("host", "GPU"), strict=True):
        chosen = [row for row in rows if row["frames_and_filter"] == where]
        for number, engine in enumerate(names):
            at = [x + (number - len(names) / 2) * 0.12 for x in range(len(chosen))]
            ax.bar(at, [row["utilisation"].get(engine, 0) for row in chosen], 0.12, label=engine)
        labels = [f"{row['size']}\n{row['fps']:.0f} fps" for row in chosen]
        ax.set_xticks(range(len(chosen)), labels)
        ax.set_title(f"simulated; frames and temporal filter on the {where}")
    axes[0].set_ylabel("share of the time busy")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
