"""What is to be done for each piece of a clip, from what is done. Opens no media file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline import __version__, scheduling
from sorawm_pipeline.job import ClipJob
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.report import PartReport
from sorawm_pipeline.scheduling import Step
from sorawm_pipeline.segments.pieces import (
    FindTask,
    Found,
    Plan,
    Restored,
    RestoreTask,
    Task,
    with_left,
)
from sorawm_pipeline.segments.plan import Around, Piece, Reach, around, changed_groups
from sorawm_pipeline.segments.store import FORMS, QUALITY, Store, key_of
from sorawm_pipeline.snapshot import dumped
from sorawm_pipeline.vision.runs import Runs

LOOKED_ON = 240
"""Frames behind a piece that finding may read before it stops."""


class _Extent(NamedTuple):
    """From which frames a piece is restored, which groups it is, and which of these changed."""

    area: Around
    groups: tuple[int, int] | None
    changed: frozenset[int]


class Row:
    """The pieces of one clip, which of them are done, and under which names.

    A name holds a digest of all that a piece was made from: the packets that were read, the
    configuration, weights and versions, and for restoring the marks in and around it. So what an
    earlier run has done is found again as long as nothing of that has changed, and only so.

    Attributes:
        runs: the marks found so far.
        found, restored, reused: pieces, as in `PiecesReport`.
    """

    def __init__(
        self,
        job: ClipJob,
        plan: Plan,
        pieces: list[Piece],
        store: Store,
        reach: Reach,
    ) -> None:
        self._job = job
        self._plan = plan
        self._store = store
        self._reach = reach
        self.pieces = pieces
        self.runs = Runs()
        self.found = self.restored = self.reused = 0
        self._marked: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._finds: list[str] = []
        self._bounds: list[tuple[int, int]] = []
        self._next_frame = 0
        self._extents: list[_Extent] = []
        self._restored: dict[int, str] = {}
        self._reports: dict[str, PartReport] = {}
        self._base = key_of(_versions(), _source_of_finds(job))
        self._restore_base = key_of(_versions(), _source_of_fills(job, plan))
        self.copied_groups = 0
        store.prune(
            (f"find-{self._base[:8]}-", f"piece-{self._restore_base[:8]}-", "plan-", FORMS, QUALITY)
        )

    @property
    def restorable(self) -> int:
        """As many pieces, from the first on, can be restored from what is found."""
        return len(self._extents)

    @property
    def frames(self) -> int:
        """Frames of the pieces that are restored."""
        return sum(self.pieces[number].end - self.pieces[number].first for number in self._restored)

    @property
    def names(self) -> list[tuple[Piece, str]]:
        """All pieces in order, with the names of their packets."""
        return [(piece, self._restored[piece.number]) for piece in self.pieces]

    def part(self) -> PartReport:
        """What was done for the pieces, in this run or an earlier one."""
        total = PartReport()
        for name in sorted(self._reports, key=lambda name: not name.startswith("find")):
            total = total.with_part(self._reports[name])
        return total

    def begin(self, what: scheduling.Task) -> Task | None:
        """The task that the policy has chosen; None if an earlier run has done it. Blocks."""
        task = self._find_task() if what.step is Step.FIND else self._restore_task(what.piece)
        if not self._take(task):
            return task
        self.reused += 1
        return None

    def finish(self, task: Task) -> None:
        """Take what a task has stored. Blocks.

        Raises:
            Unfit: it has stored nothing that can be read.
        """
        if not self._take(task):
            raise Unfit(f"{task.name} has disappeared")
        if isinstance(task, FindTask):
            self.found += 1
        else:
            self.restored += 1

    def _find_task(self) -> FindTask:
        piece, timeline = self.pieces[len(self._finds)], self._plan.timeline
        last = piece.number == len(self.pieces) - 1
        after = self._finds[-1] if self._finds else None
        read = timeline.sums_of(self._next_frame, min(len(timeline), piece.end + LOOKED_ON))
        key = key_of(self._base, after, self._next_frame, piece.end, last, read.tobytes())
        name = f"find-{self._base[:8]}-{key}"
        return FindTask(name, piece, self._next_frame, after, last)

    def _restore_task(self, number: int) -> RestoreTask:
        piece, extent, timeline = self.pieces[number], self._extents[number], self._plan.timeline
        area = extent.area
        finds = tuple(
            name
            for name, (begin, stop) in zip(self._finds, self._bounds, strict=True)
            if begin < area.end and area.first < stop
        )
        key = key_of(
            self._restore_base,
            [piece.first, piece.end, area.first, area.end, area.behind],
            [extent.groups, sorted(extent.changed)],
            timeline.sums_of(min(area.first, piece.first), max(area.end, piece.end)).tobytes(),
            self._digest(area, finds),
        )
        name = f"piece-{self._restore_base[:8]}-{key}"
        return RestoreTask(name, piece, area, finds, extent.groups, extent.changed)

    def _extent(self, piece: Piece) -> _Extent | None:
        """From what a piece is restored; None: too little is found yet."""
        if len(self._marked) < piece.end:
            return None
        gops, timeline = self._plan.settings.gops, self._plan.timeline
        first, end = piece.first, piece.end
        marked = self._marked if self._job.removes else np.zeros_like(self._marked)
        groups, changed = None, frozenset[int]()
        if gops is not None:
            low, high, numbers = changed_groups(gops, timeline, marked, piece)
            groups, changed = (low, high), frozenset(numbers)
            if changed:
                bounds = [*np.searchsorted(timeline.pts, gops.starts[low:high]).tolist(), end]
                first, end = bounds[min(changed)], bounds[max(changed) + 1]
            else:
                first = end = piece.first
        area: Around | None = Around(first, end)
        if first < end:
            area = around(marked, first, end, len(timeline), self._reach)
        return None if area is None else _Extent(area, groups, changed)

    def _digest(self, area: Around, finds: Iterable[str]) -> bytes:
        """What was found in the frames around a piece, whoever found it."""
        marks = []
        for name in finds:
            found = self._store.get(name)
            if not isinstance(found, Found):
                raise Unfit(f"{name} has disappeared")
            frames = enumerate(found.marks, start=found.first)
            marks += [known for index, known in frames if area.first <= index < area.end]
        return dumped(with_left(marks, area.first, self._job, self._plan.left))

    def _take(self, task: Task) -> bool:
        what: Any = self._store.get(task.name)
        if isinstance(task, FindTask):
            if not isinstance(what, Found):
                return False
            self._take_found(task, what)
        else:
            if not isinstance(what, Restored):
                return False
            self._restored[task.piece.number] = task.name
            if task.groups is not None:
                self.copied_groups += task.groups[1] - task.groups[0] - len(task.changed)
        self._reports[task.name] = PartReport.model_validate_json(what.report)
        return True

    def _take_found(self, task: FindTask, found: Found) -> None:
        marks = with_left(found.marks, found.first, self._job, self._plan.left)
        for index, known in enumerate(marks, start=found.first):
            self.runs.add(index, known)
        flags = np.array([bool(known) for known in marks], np.bool_)
        self._marked = np.concatenate([self._marked, flags])
        self._finds.append(task.name)
        self._bounds.append((found.first, found.first + len(found.marks)))
        self._next_frame = found.next_frame
        for piece in self.pieces[len(self._extents) :]:
            if (extent := self._extent(piece)) is None:
                break
            self._extents.append(extent)


def _versions() -> dict[str, Any]:
    return {"program": __version__, "libraries": av.library_versions, "numpy": np.__version__}


def _source_of_finds(job: ClipJob) -> dict[str, Any]:
    """All of the configuration that finding depends on."""
    config = job.config
    detect = config.detect.model_dump(mode="json", exclude={"batch"})
    files = [config.detect.weights, *(region.mask for region in config.detect.regions)]
    return {
        "detect": detect,
        "files": [_identity(path) for path in files if isinstance(path, Path)],
        "device": config.device,
        "accelerator": job.accelerator,
        "room": [config.memory.budget, config.queues.capacity, config.temporal.window],
    }


def _source_of_fills(job: ClipJob, plan: Plan) -> dict[str, Any]:
    """All of the configuration that restoring depends on."""
    config, settings = job.config, plan.settings
    weights = config.inpaint.weights
    return {
        "inpaint": config.inpaint.model_dump(mode="json"),
        "files": [_identity(weights)] if isinstance(weights, Path) else [],
        "device": config.device,
        "accelerator": job.accelerator,
        "window": config.temporal.window,
        "forms": plan.forms,
        "memory": config.memory.budget,
        "encode": [
            *(settings.choice.encoder, settings.muxer, settings.preset, settings.crf),
            *(settings.bitrate, settings.most, settings.gop, settings.gops is not None),
        ],
    }


def _identity(path: Path) -> list[Any]:
    """What tells whether a file of the user's has changed."""
    try:
        status = path.stat()
    except OSError:
        return [str(path)]  # the name of a pulled model, whose digest is pinned
    return [str(path), status.st_size, status.st_mtime_ns]
