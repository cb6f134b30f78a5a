"""What the API tells, as JSON: jobs, attempts, the daemon's state."""

from __future__ import annotations

import json
import time
from typing import Any

from pydantic import BaseModel, Field

from sorawm_pipeline.report import Text
from sorawm_pipeline.service.daemon import SlotStatus
from sorawm_pipeline.service.jobs import Attempt, Failure, Job
from sorawm_pipeline.service.wire import Doing, WorkProgress


class FailureView(BaseModel):
    """Why an attempt failed: kind as in docs/operations.md, stage or null, one sentence."""

    kind: Text
    stage: Text | None
    message: Text

    @classmethod
    def of(cls, failure: Failure | None) -> FailureView | None:
        if failure is None:
            return None
        return cls(kind=failure.kind, stage=failure.stage, message=failure.message)


class JobView(BaseModel):
    """A job; times are seconds since 1970.

    Frames, frames per second and seconds that it took are those of a done job that is asked for
    alone; lists do not hold them.
    """

    id: int
    name: Text
    state: str
    created: float
    started: float | None
    finished: float | None
    attempts: int
    source: Text
    output: Text | None
    same_as: int | None
    error: FailureView | None
    frames: int | None = None
    fps: float | None = None
    wall_s: float | None = None

    @classmethod
    def of(cls, job: Job) -> JobView:
        return cls(**_of(job))


class AttemptView(BaseModel):
    number: int
    started: float
    finished: float | None
    outcome: Text
    error: FailureView | None

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptView:
        return cls(
            number=attempt.number,
            started=attempt.started,
            finished=attempt.ended,
            outcome=attempt.outcome,
            error=FailureView.of(attempt.failure),
        )


class JobDetail(JobView):
    """A job with its attempts and, when it is done, its clip's report."""

    tries: list[AttemptView]
    report: dict[str, Any] | None

    @classmethod
    def whole(cls, job: Job, attempts: list[Attempt]) -> JobDetail:
        return cls(
            **_of(job),
            tries=[AttemptView.of(attempt) for attempt in attempts],
            report=report_of(job),
        )


class JobList(BaseModel):
    """Jobs, the newest first; `next` goes on from here as `before`, null at the end."""

    jobs: list[JobView]
    next: int | None


class ProgressView(Doing):
    """How a worker's clip is doing, and how long it will take at this rate; null: not known."""

    eta_s: float | None

    @classmethod
    def of(cls, progress: WorkProgress) -> ProgressView:
        expected, fps = progress.frames_expected, progress.fps
        left = None
        if progress.phase == "cleaning" and expected and fps > 0 and expected >= progress.frames:
            left = (expected - progress.frames) / fps
        return cls(**progress.model_dump(exclude={"kind"}), eta_s=left)


class WorkerView(BaseModel):
    """A slot: its worker's process id, its job and how that is doing; whose pieces it does."""

    slot: int
    device: Text
    pid: int | None
    job: int | None
    progress: ProgressView | None
    helps: int | None

    @classmethod
    def of(cls, slot: SlotStatus) -> WorkerView:
        return cls(
            slot=slot.slot,
            device=slot.device,
            pid=slot.pid,
            job=slot.job,
            progress=None if slot.progress is None else ProgressView.of(slot.progress),
            helps=slot.helps,
        )


class MachineView(BaseModel):
    """Bytes of memory of the machine (or control group), of this process; load per core, 0..1."""

    memory_total: int
    memory_available: int
    daemon_rss: int
    load: float
    disk_free: int | None


class StatusView(BaseModel):
    """The daemon at one moment; `paused` says why the queue stands still, or is null."""

    version: str
    now: float = Field(default_factory=time.time)
    uptime_s: float
    paused: Text | None
    accepting: bool
    watched: Text | None
    watching: bool
    settling: int
    jobs: dict[str, int]
    workers: list[WorkerView]
    machine: MachineView
    upload_max: int
    paths: bool


def report_of(job: Job) -> dict[str, Any] | None:
    """The report of a done job's clip."""
    if job.report is None:
        return None
    try:
        found = json.loads(job.report)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _of(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.source.path.name,
        "state": job.state.value,
        "created": job.created,
        "started": job.started,
        "finished": job.ended,
        "attempts": job.attempts,
        "source": str(job.source.path),
        "output": str(job.output) if job.result is not None else None,
        "same_as": job.same_as,
        "error": FailureView.of(job.failure),
        **_figures(job),
    }


def _figures(job: Job) -> dict[str, Any]:
    report = report_of(job) or {}
    frames = report.get("frames")
    return {
        "frames": frames.get("encoded") if isinstance(frames, dict) else None,
        "fps": report.get("fps"),
        "wall_s": report.get("wall_s"),
    }
