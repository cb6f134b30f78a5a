"""Several clips in one call, and the stop that has two levels."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, Self

import pytest

from sorawm_pipeline import batch
from sorawm_pipeline.batch import Stop, clean_all
from sorawm_pipeline.clip_run import Progress
from sorawm_pipeline.errors import InputError, PipelineError
from sorawm_pipeline.pipeline import RESTED
from sorawm_pipeline.plan import Planned
from sorawm_pipeline.report import ClipReport, ErrorReport


class Audience:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self, clip: Planned, number: int, count: int) -> None:
        self.told.append(f"started {clip.source} {number}/{count}")

    def progressed(self, progress: Progress) -> None:
        raise AssertionError("the pipeline of these tests tells nothing")

    def finished(self, report: ClipReport) -> None:
        self.told.append(f"{report.status} {report.input}")

    def warned(self, message: str) -> None:
        self.told.append(message.split()[0])


class Scripted:
    """A pipeline whose clips do what their names say; sends itself signals."""

    def __init__(self) -> None:
        self.running = 0
        self.rested = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.running == 0

    def rest(self) -> None:
        self.rested.set()

    async def attempt(self, source: Path, output: Path, **_: Any) -> ClipReport:
        self.running += 1
        try:
            match source.name:
                case "bad":
                    error = ErrorReport.of(InputError("bad is damaged"))
                    return ClipReport(input="bad", status="failed", error=error)
                case "once":
                    os.kill(os.getpid(), signal.SIGTERM)
                    await _turns()
                case "twice":
                    os.kill(os.getpid(), signal.SIGINT)
                    await _turns()
                    os.kill(os.getpid(), signal.SIGTERM)
                    await asyncio.Event().wait()
                case "pieces":
                    os.kill(os.getpid(), signal.SIGTERM)
                    await self.rested.wait()
                    told = PipelineError("it rests", kind=RESTED)
                    return ClipReport(input="pieces", status="failed", error=ErrorReport.of(told))
                case "stuck":
                    os.kill(os.getpid(), signal.SIGINT)
                    await asyncio.Event().wait()
            return ClipReport(input=str(source), status="done")
        finally:
            self.running -= 1


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def call(*names: str) -> tuple[list[str], Audience]:
    audience = Audience()
    clips = [Planned(Path(name), Path("out") / name) for name in names]
    pipeline: Any = Scripted()
    async with asyncio.timeout(20):
        reports = await clean_all(pipeline, clips, overwrite=False, listener=audience)
    return [report.status for report in reports], audience


async def test_a_failure_does_not_stop_the_others() -> None:
    statuses, audience = await call("a", "bad", "b")
    assert statuses == ["done", "failed", "done"]
    assert audience.told[0] == "started a 1/3"
    assert audience.told[-1] == "done b"


async def test_a_clip_that_was_planned_with_an_error_is_not_tried() -> None:
    clip = Planned(Path("x"), None, InputError("no such thing"))
    pipeline: Any = Scripted()
    (report,) = await clean_all(pipeline, [clip], overwrite=False, listener=Audience())
    assert report.error is not None
    assert report.error.message == "no such thing"


async def test_one_signal_lets_the_running_clip_finish() -> None:
    statuses, audience = await call("once", "a", "b")
    assert statuses == ["done", "interrupted", "interrupted"]
    assert "finishing" in audience.told


async def test_a_clip_in_pieces_rests_at_the_first_signal() -> None:
    statuses, audience = await call("pieces", "a")
    assert statuses == ["interrupted", "interrupted"]
    assert "interrupted pieces" in audience.told


async def test_several_clips_at_once() -> None:
    pipeline: Any = Scripted()
    clips = [Planned(Path(name), Path("out") / name) for name in "abcde"]
    reports = await clean_all(pipeline, clips, overwrite=False, listener=Audience(), at_once=3)
    assert [report.input for report in reports] == list("abcde")


async def test_two_signals_cancel_it() -> None:
    statuses, _ = await call("a", "twice", "b")
    assert statuses == ["done", "interrupted", "interrupted"]


async def test_the_grace_period_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "GRACE_S", 0.0)
    statuses, _ = await call("stuck", "a")
    assert statuses == ["interrupted", "interrupted"]


async def test_a_cancellation_from_outside_is_not_swallowed() -> None:
    task = asyncio.ensure_future(call("stuck-from-outside", "stuck"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    await call("a")
    assert signal.getsignal(signal.SIGTERM) == before


async def test_no_timer_is_left_behind() -> None:
    cancelled: list[int] = []
    stop = Stop(lambda: cancelled.append(1), lambda _: None, lambda: None)
    stop.request()
    stop.clear()
    await _turns()
    assert cancelled == []
