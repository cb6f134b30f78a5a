"""The public face: clean clips, find marks, tell how it goes; models stay warm between clips."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakSet

from sorawm_pipeline.clip_run import ClipRun, Progress, ProgressCallback
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.readings import Reading
from sorawm_pipeline.report import ClipReport, DetectReport
from sorawm_pipeline.segments.dispatch import RESTED, Hand
from sorawm_pipeline.segments.hands import Hands, processes
from sorawm_pipeline.segments.orders import Answer, Order, PieceDoer
from sorawm_pipeline.warm import WarmDetectors

__all__ = ["RESTED", "Pipeline"]


class Pipeline:
    """Cleans clips. Several calls may run at once on one pipeline, in one event loop.

    Used with `async with`, models stay loaded from clip to clip; without, each call loads its own.

    Args:
        config: all defaults when left out.
        hands: who does the pieces of long clips; None: this process, or as many others as
            `pieces.workers` says. Closing them is the caller's business.
    """

    def __init__(self, config: PipelineConfig | None = None, hands: Hands | None = None) -> None:
        self.config = config or PipelineConfig()
        self._given_hands = self._hands = hands
        self._detectors: WarmDetectors | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[ClipReport | PipelineError]] = set()
        self._stack = AsyncExitStack()
        self._runs: WeakSet[ClipRun] = WeakSet()
        self._pieces = PieceDoer(self.config)

    @classmethod
    def from_yaml(cls, path: Path | str, overrides: Sequence[str] = ()) -> Self:
        """Raises ConfigError: the file or an override is wrong."""
        return cls(PipelineConfig.from_yaml(path, overrides))

    async def __aenter__(self) -> Self:
        self._detectors = WarmDetectors(self.config, keep=True)
        self._stack.push_async_callback(self._detectors.close)
        if self._given_hands is None and self.config.pieces.workers > 1:
            self._hands = await self._stack.enter_async_context(processes(self.config))
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for task in self._running:
                task.cancel()
        try:
            # Without the error, which the group would wrap: its own tasks never raise.
            await self._stack.__aexit__(None, None, None)
        finally:
            self._detectors = self._tasks = None
            self._hands = self._given_hands

    async def process(
        self,
        path: Path | str,
        output: Path | str | None = None,
        *,
        overwrite: bool | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> ClipReport:
        """Clean one clip and publish the result.

        Cancelling it is safe at any time: it returns only when no thread of it runs any more, and
        leaves no partial file.

        Args:
            path: the clip.
            output: the result's file; None puts it under its own name into `output.folder`.
            overwrite: whether an existing result may be replaced; None as configured.
            on_progress: called on the event loop, at most ten times a second; must not block.

        Raises:
            PipelineError: the clip could not be cleaned; one sentence, `kind` and `stage`.
        """
        run = self._run(path, on_progress)
        async with self._lender() as (detectors, hands):
            return await run.clean(*self._place(path, output, overwrite), detectors, hands)

    async def attempt(
        self,
        path: Path | str,
        output: Path | str | None = None,
        *,
        overwrite: bool | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> ClipReport:
        """Like `process`, but a clip that fails is a report with status `failed`, not an error."""
        run = self._run(path, on_progress)
        try:
            async with self._lender() as (detectors, hands):
                return await run.clean(*self._place(path, output, overwrite), detectors, hands)
        except PipelineError as error:
            return run.report("failed", error)

    async def detect(
        self, path: Path | str, *, on_progress: ProgressCallback | None = None
    ) -> DetectReport:
        """Find the marks of one clip; nothing is written.

        Raises:
            PipelineError: as `process`.
        """
        async with self._lender() as (detectors, _):
            return await self._run(path, on_progress).look(detectors)

    async def events(
        self,
        path: Path | str,
        output: Path | str | None = None,
        *,
        overwrite: bool | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """Clean one clip and tell how it goes; the last event carries the report.

        Leaving the loop early cancels the clip. A slow consumer misses events, never the last one.

        Raises:
            RuntimeError: used outside `async with Pipeline(...)`.
            PipelineError: as `process`.
        """
        if self._tasks is None:
            raise RuntimeError("events() needs `async with Pipeline(...) as pipeline:`")
        news = _Latest()

        async def work() -> ClipReport | PipelineError:
            try:
                return await self.process(path, output, overwrite=overwrite, on_progress=news.tell)
            except PipelineError as error:
                return error
            finally:
                news.end()

        task = self._tasks.create_task(work(), name=f"clean {path}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        last: Progress | None = None
        try:
            while (progress := await news.next()) is not None:
                last = progress
                yield progress
            outcome = await task
        finally:
            await _cancelled(task)
        if isinstance(outcome, PipelineError):
            raise outcome
        frames, stage = outcome.frames.encoded, last.stage if last else "encode"
        yield Progress(Path(path), frames, frames, outcome.fps, stage, 0.0, outcome)

    def rest(self) -> None:
        """Let the clips that are done in pieces stop when those at work are done.

        Such a clip then fails with the kind `RESTED`; cleaned again, it goes on from there. Others
        are not touched. Call it on the event loop.
        """
        for run in self._runs:
            run.rest()

    async def helped_by(self, hand: Hand) -> None:
        """Let a hand do pieces of a clip that this process does in pieces, until that is done.

        Returns at once if there is none. May be cancelled at any time; what the hand was at is
        done by others.

        Raises:
            HandLostError: it was lost.
        """
        for run in list(self._runs):
            if run.own is not None:
                await run.own.serve(hand)
                return

    async def do_piece(self, order: Order, tell: Callable[[int], None]) -> Answer:
        """Do a piece of a clip that another process cleans; needs `async with Pipeline(...)`.

        Args:
            order: names source, store and task.
            tell: called with the frames that are done.
        """
        if self._detectors is None:
            raise RuntimeError("do_piece() needs `async with Pipeline(...) as pipeline:`")
        return await self._pieces.do(order, self._detectors, tell)

    def readings(self) -> list[Reading]:
        """How each clip that is not finished is doing now; call it on the event loop."""
        return [run.reading() for run in self._runs]

    def _run(self, path: Path | str, on_progress: ProgressCallback | None) -> ClipRun:
        run = ClipRun(self.config, Path(path), on_progress)
        self._runs.add(run)
        return run

    def _place(
        self, path: Path | str, output: Path | str | None, overwrite: bool | None
    ) -> tuple[Path, bool]:
        """The result's file, and whether it may replace another."""
        chosen = self.config.output.folder / Path(path).name if output is None else Path(output)
        return chosen, self.config.output.overwrite if overwrite is None else overwrite

    @asynccontextmanager
    async def _lender(self) -> AsyncIterator[tuple[WarmDetectors, Hands | None]]:
        """The detectors that stay warm, and the hands; outside `async with` for one clip."""
        if self._detectors is not None:
            yield self._detectors, self._hands
            return
        async with AsyncExitStack() as stack:
            pieces = self.config.pieces
            detectors = WarmDetectors(self.config, keep=True)
            stack.push_async_callback(detectors.close)
            hands = self._given_hands
            if hands is None and pieces.workers > 1:
                hands = await stack.enter_async_context(processes(self.config))
            yield detectors, hands


class _Latest:
    """A mailbox of one: the newest progress, and whether more will come."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._newest: Progress | None = None
        self._ended = False

    def tell(self, progress: Progress) -> None:
        self._newest = progress
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def next(self) -> Progress | None:
        """The newest progress not yet seen; None when there will be no more."""
        while self._newest is None:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        newest, self._newest = self._newest, None
        return newest


async def _cancelled(task: asyncio.Task[object]) -> None:
    """Cancel a task and wait until it has ended, whatever it ends with."""
    task.cancel()
    await asyncio.wait([task])
