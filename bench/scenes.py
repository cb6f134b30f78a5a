"""The scenes of the restoration bench: which they are, how they are made, how they are loaded.

    from scenes import SCENES, Bench, cut
    scene = Bench(work, sources, mark, frames=60).scene(SCENES["pan-hills"])
    run = scene.runs[0]
    marked = cut(scene.marked, scene.size, run.region, run.frames)  # Y, U, V of the decoded clip
    truth = cut(scene.truth, scene.size, run.region, run.frames)

A scene's truth is 8-bit 4:2:0, converted once from RGB (limited range, BT.601). The mark is laid
over it in the Y, U and V planes, `rint((1 - a) * truth + a * colour)`, with the mean alpha and the
alpha-weighted colour of 2x2 pixels for chroma: truth and composite differ by the mark alone. Then
x264 compresses both, key frame each second; the compressed truth is the `floor`, the best that
anyone could restore.

Everything made is kept under WORK/NAME-FRAMES and made again only when its description changes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from drawn import Look
from footage import Footage, footage
from marked_runs import Run, tracks
from pictures import Pixels, cut, decoded, encode, planes

from sorawm_pipeline.media.frame import Box

__all__ = ["SCENES", "Bench", "Run", "Scene", "Spec", "cut", "planes", "varied"]

VERSION = 1
"""Counted up when the same description gives other pixels."""
QUICK = 60
QUICK_START = 36
"""Frame of the mark clip with which a quick scene begins: a run, the blank, the next place."""


@dataclass(frozen=True)
class Spec:
    """One scene.

    Attributes:
        name: its kind, and what is seen.
        size: width and height in pixels, even.
        crf: of x264.
        look: what lies over it.
        preset: of x264.
    """

    name: str
    footage: Footage
    size: tuple[int, int]
    crf: int
    look: Look = field(default_factory=Look)
    preset: str = "veryfast"

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]


def _table() -> dict[str, Spec]:
    tall, wide, small = (704, 1280), (1280, 704), (640, 360)
    rows = [
        Spec("still-street", Footage("vtest.avi"), small, 23),
        Spec(
            "still-castle", Footage("castle.jpg", "still", guest="sheep.jpg", noise=2.0), wide, 18
        ),
        Spec("still-screen", Footage("movie-hello.mp4"), wide, 28),
        Spec("pan-hills", Footage("hills.jpg", "pan"), tall, 23, preset="medium"),
        Spec("pan-wall", Footage("wall.jpg", "pan"), small, 28),
        Spec("handheld-dog", Footage("movie1.mp4"), (1920, 1080), 23),
        Spec("handheld-leaves", Footage("leaves.jpg", "handheld"), tall, 18),
        Spec("zoom-giraffe", Footage("giraffe.jpg", "zoom"), tall, 23),
        Spec("people-car", Footage("carphone.mp4"), (350, 286), 23, preset="medium"),
        Spec("people-cup", Footage("cup.mp4"), small, 28),
        Spec("foliage-tree", Footage("tree.avi"), small, 23),
        Spec("foliage-grass", Footage("grass.jpg", "sway"), wide, 28),
        Spec("water-birds", Footage("birds.jpg", "ripple"), wide, 23),
        Spec("water-reef", Footage("reef.jpg", "ripple"), tall, 18),
        Spec("cartoon-bunny", Footage("bigbuckbunny.mp4"), wide, 23, preset="medium"),
        Spec("dark-dinner", Footage("megamind.avi", start=85), (718, 526), 28),
        Spec("dark-night", Footage("night.jpg", "pan", noise=1.5), (960, 540), 23),
        Spec("text-page", Footage("text-page.mp4"), wide, 23),
        Spec("edge-dune", Footage("dune.jpg", "handheld"), tall, 23, Look(beyond=0.3)),
        Spec("cut-bikes", Footage("bikes.mp4", start=60), small, 23),
        Spec("opaque-box", Footage("box.mp4"), small, 23, Look("opaque")),
        Spec("opaque-city", Footage("city.jpg", "zoom"), (854, 480), 28, Look("opaque")),
        Spec("translucent-giraffe", Footage("giraffe.jpg", "pan"), wide, 23, Look("translucent")),
        Spec("time-kangaroo", Footage("kangaroo.jpg", "handheld"), wide, 23, Look("time")),
        Spec("time-street", Footage("vtest.avi"), (768, 576), 18, Look("bar")),
    ]
    return {row.name: row for row in rows}


SCENES = _table()


@dataclass(frozen=True)
class Scene:
    """A scene that has been made.

    Attributes:
        folder: where results about it may be kept.
        clip: the compressed composite, what the program sees.
        floor_clip: the compressed truth.
        truth: I420 (n, h * 3/2, w), memory-mapped.
        runs: where marks are, in turn; empty frames lie in no run.
        cuts: first frames of new shots.
    """

    spec: Spec
    folder: Path
    clip: Path
    floor_clip: Path
    truth: Pixels
    runs: tuple[Run, ...]
    cuts: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.spec.size

    @property
    def marked_frames(self) -> int:
        return sum(run.count for run in self.runs)

    @cached_property
    def marked(self) -> Pixels:
        """The decoded composite, I420 (n, h * 3/2, w)."""
        return decoded(self.clip, self.size, len(self.truth))

    @cached_property
    def floor(self) -> Pixels:
        """The decoded compressed truth, I420 (n, h * 3/2, w)."""
        return decoded(self.floor_clip, self.size, len(self.truth))


@dataclass(frozen=True)
class Bench:
    """Where scenes come from and where they are kept.

    Args:
        work: folder of what has been made.
        sources: folder with the films and photographs that SCENES names.
        mark: clip of the real mark on black.
        frames: of each scene.
    """

    work: Path
    sources: Path
    mark: Path
    frames: int

    def missing(self, spec: Spec) -> list[str]:
        return [name for name in spec.footage.files if not (self.sources / name).is_file()]

    def scene(self, spec: Spec) -> Scene:
        """Load a scene, made first if it is not there or was described otherwise."""
        base = self.work / f"{spec.name}-{self.frames}"
        truth = self._truth(spec, base)
        clean = base / f"clean-{spec.crf}-{spec.preset}.mp4"
        if not clean.exists():
            _published(clean, lambda path: encode(path, truth, spec.size, spec.crf, spec.preset))
        look = _digest([asdict(spec.look), spec.crf, spec.preset, self._start, VERSION])
        folder = base / f"{spec.look.kind}-{spec.crf}-{look}"
        clip = folder / "marked.mp4"
        if not clip.exists():
            folder.mkdir(parents=True, exist_ok=True)
            runs = tracks(spec.look, self.mark, spec.size, self.frames, self._start)
            for number, run in enumerate(runs):
                run.save(folder / f"run-{number:02}.npz")
            frames = laid(truth, spec.size, runs)
            _published(clip, lambda path: encode(path, frames, spec.size, spec.crf, spec.preset))
        stored = tuple(Run.load(path) for path in sorted(folder.glob("run-*.npz")))
        cuts = tuple(json.loads((base / "cuts.json").read_text()))
        return Scene(spec, folder, clip, clean, truth, stored, cuts)

    @property
    def _start(self) -> int:
        return QUICK_START if self.frames <= QUICK else 0

    def _truth(self, spec: Spec, base: Path) -> Pixels:
        sizes = [(self.sources / name).stat().st_size for name in spec.footage.files]
        digest = _digest([asdict(spec.footage), spec.size, self.frames, VERSION, sizes])
        noted, path = base / "digest", base / "truth.npy"
        if not noted.exists() or noted.read_text() != digest:
            shutil.rmtree(base, ignore_errors=True)
            base.mkdir(parents=True)
            width, height = spec.size
            shape = self.frames, height * 3 // 2, width
            stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            for index, picture in enumerate(
                footage(spec.footage, self.sources, spec.size, self.frames)
            ):
                stored[index] = picture
            stored.flush()
            (base / "cuts.json").write_text(json.dumps(cuts_in(planes(stored, spec.size)[0])))
            noted.write_text(digest)
        return np.asarray(np.load(path, mmap_mode="r"))


def laid(truth: Pixels, size: tuple[int, int], runs: Iterable[Run]) -> Iterator[Pixels]:
    """The truth's I420 pictures with the runs' marks over them."""
    of_frame = {index: run for run in runs for index in range(run.first, run.last)}
    for index in range(len(truth)):
        picture = np.array(truth[index])
        run = of_frame.get(index)
        if run is not None:
            whole = planes(picture[None], size)
            for number, plane in enumerate(whole):
                box = run.region if number == 0 else run.chroma_region
                area = plane[0][box.within(Box(0, 0, plane.shape[2], plane.shape[1]))]
                alpha, colour = run.layer(number, index - run.first)
                area[...] = np.rint(area * (1 - alpha) + colour * alpha).astype(np.uint8)
        yield picture


def cuts_in(luma: Pixels) -> list[int]:
    """Frames of (n, h, w) that differ from the one before as no motion explains."""
    small = luma[:, ::8, ::8].astype(np.float32)
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2))
    found = []
    for index, value in enumerate(change):
        around = np.delete(change[max(0, index - 6) : index + 7], min(index, 6))
        if value > 12 and value > 3 * np.median(around):
            found.append(index + 1)
    return found


def varied(spec: Spec, **changes: Any) -> Spec:
    """The scene with another CRF or, by `Look`'s names, another look."""
    crf = changes.pop("crf", spec.crf)
    return replace(spec, crf=crf, look=replace(spec.look, **changes))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:12]


def _published(path: Path, write: Any) -> None:
    """Write beside `path` first, so that what has its name is whole."""
    partial = path.with_name(f"partial-{path.name}")
    write(partial)
    partial.replace(path)
