"""Cleaning one clip after another, with a stop that has two levels."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from sorawm_pipeline.clip_run import Progress
from sorawm_pipeline.pipeline import RESTED, Pipeline
from sorawm_pipeline.plan import Planned
from sorawm_pipeline.report import ClipReport, ErrorReport

GRACE_S = 10.0
"""How long the running clip may go on after the first signal."""


class Stop:
    """The two levels of stopping.

    The first request takes no new clip and gives the running one a grace period; the second one,
    or the end of the grace period, cancels it.

    Args:
        cancel: cancels what is running.
        warn: told in words what the first request has done.
        rest: lets a clip in pieces end after those at work.
    """

    def __init__(
        self,
        cancel: Callable[[], object],
        warn: Callable[[str], None],
        rest: Callable[[], object],
    ) -> None:
        self.requested = False
        self._rest = rest
        self._cancel = cancel
        self._warn = warn
        self._deadline: asyncio.TimerHandle | None = None

    def request(self) -> None:
        """One more signal; call it on the event loop."""
        if self.requested:
            self._cancel()
            return
        self.requested = True
        self._rest()
        self._warn(f"finishing the running clip within {GRACE_S:.0f} s; once more to stop now")
        self._deadline = asyncio.get_running_loop().call_later(GRACE_S, self._cancel)

    def clear(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


class Listener(Protocol):
    """Someone to tell how the call goes."""

    def started(self, clip: Planned, number: int, count: int) -> None: ...

    def progressed(self, progress: Progress) -> None: ...

    def finished(self, report: ClipReport) -> None: ...

    def warned(self, message: str) -> None: ...


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.request)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        stop.clear()


async def clean_all(
    pipeline: Pipeline,
    clips: Sequence[Planned],
    *,
    overwrite: bool,
    listener: Listener,
    at_once: int = 1,
) -> list[ClipReport]:
    """Clean every clip, `at_once` at a time; one that fails does not keep others from being done.

    SIGINT and SIGTERM stop it; clips that were not finished then are `interrupted`.

    Returns:
        One report for each clip, in order.
    """
    reports: dict[int, ClipReport] = {}
    task = asyncio.current_task()
    assert task is not None
    ours = False

    def cancel() -> None:
        nonlocal ours
        ours = True
        task.cancel()

    stop = Stop(cancel, listener.warned, pipeline.rest)
    waiting = iter(enumerate(clips))

    async def work() -> None:
        for number, clip in waiting:
            if stop.requested:
                return
            listener.started(clip, number + 1, len(clips))
            reports[number] = await _clean(pipeline, clip, overwrite, listener)
            listener.finished(reports[number])

    with _signals(stop):
        try:
            async with pipeline, asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(clips))):
                    group.create_task(work())
        except asyncio.CancelledError:
            if not ours or task.uncancel():
                raise
    for number, clip in enumerate(clips):
        if number not in reports:
            reports[number] = ClipReport(input=str(clip.source), status="interrupted")
            listener.finished(reports[number])
    return [reports[number] for number in range(len(clips))]


async def _clean(
    pipeline: Pipeline, clip: Planned, overwrite: bool, listener: Listener
) -> ClipReport:
    if clip.error is not None:
        error = ErrorReport.of(clip.error)
        return ClipReport(input=str(clip.source), status="failed", error=error)
    report = await pipeline.attempt(
        clip.source, clip.output, overwrite=overwrite or None, on_progress=listener.progressed
    )
    rests = report.error is not None and report.error.kind == RESTED
    return report.model_copy(update={"status": "interrupted", "error": None}) if rests else report
