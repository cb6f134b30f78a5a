"""Metrics for Prometheus. Labels take few values: slots, stages, queues, states, kinds of error."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from sorawm_pipeline import __version__
from sorawm_pipeline.report import ClipReport
from sorawm_pipeline.service.daemon import Daemon, Status
from sorawm_pipeline.service.events import JobChanged, JobProgress, WorkerChanged
from sorawm_pipeline.service.jobs import Job, JobState
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.wire import WorkProgress

KINDS = (
    *("unreadable", "no_video", "unsupported", "too_large", "exists", "output", "no_space"),
    *("config", "model", "device", "crashed", "stuck", "memory", "internal"),
)
"""Kinds of error that have a label of their own; what a worker calls otherwise is `other`."""

STAGES = ("decode", "detect", "inpaint", "temporal", "redecode", "encode", "collect")
QUEUES = tuple(f"{one}->{other}" for one in STAGES for other in STAGES)
ENDED = (JobState.DONE, JobState.QUARANTINED, JobState.SKIPPED, JobState.CANCELLED, JobState.GONE)
ACTIVITIES = ("busy", "waiting_in", "waiting_out")


REMEMBERED = 256
"""Jobs whose last progress is remembered."""


class Stage(Protocol):
    """A stage's figures, as workers tell them on the way and in the report."""

    @property
    def items(self) -> int: ...
    @property
    def busy_s(self) -> float: ...
    @property
    def wait_in_s(self) -> float: ...
    @property
    def wait_out_s(self) -> float: ...


class Totals:
    """Counts what happens from now on; `follow` it in a task beside the daemon."""

    def __init__(self) -> None:
        self.frames = 0.0
        self.ended: Counter[tuple[str, str]] = Counter()
        self.stages: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.workers_started = 0
        self._before: dict[int, tuple[int, dict[tuple[str, str], float]]] = {}

    async def follow(self, daemon: Daemon) -> None:
        """Until the daemon ends."""
        async with aclosing(daemon.events()) as events:
            async for event in events:
                match event:
                    case JobProgress(_, number, progress):
                        self._progress(number, progress)
                    case JobChanged(job) if job.state in ENDED:
                        kind = job.failure.kind if job.failure and job.state != "done" else ""
                        self.ended[job.state.value, known(kind)] += 1
                        if job.state is JobState.DONE:
                            self._finish(
                                await daemon.ledger.call(partial(Ledger.job, number=job.id))
                            )
                    case WorkerChanged(_, int(), _):
                        self.workers_started += 1
                    case _:
                        pass

    def _progress(self, job: int, now: WorkProgress) -> None:
        if now.phase == "cleaning":  # elsewhere frames are those of another pass, or bytes
            self._add(job, now.frames, now.stages)

    def _finish(self, job: Job | None) -> None:
        """Add what came after the last progress; short clips tell of none at all."""
        if job is None or job.report is None:
            return
        try:
            clip = ClipReport.model_validate_json(job.report)
        except ValidationError:
            return
        self._add(job.id, clip.frames.encoded, clip.stages)
        self._before.pop(job.id, None)

    def _add(self, job: int, frames: int, stages: Mapping[str, Stage]) -> None:
        """Add what is new; a second pass over a clip begins at nothing again."""
        before_frames, before = self._before.get(job, (0, {}))
        if before_frames > frames:
            before_frames, before = 0, {}
        self.frames += frames - before_frames
        now: dict[tuple[str, str], float] = {}
        for name in STAGES:
            if (stage := stages.get(name)) is not None:
                now[name, "busy"], now[name, "items"] = stage.busy_s, stage.items
                now[name, "waiting_in"] = stage.wait_in_s
                now[name, "waiting_out"] = stage.wait_out_s
        for key, value in now.items():
            self.stages[key] += max(0.0, value - before.get(key, 0.0))
        self._before[job] = frames, now
        while len(self._before) > REMEMBERED:
            del self._before[next(iter(self._before))]


@dataclass(frozen=True, eq=False)
class Snapshot(Collector):
    """Everything at one moment, as Prometheus wants it.

    Attributes:
        status: of the daemon.
        jobs: how many are in each state.
        failures: how many quarantined and skipped jobs there are of each kind.
        totals: since the start.
        uploads: under way.
    """

    status: Status
    jobs: Mapping[JobState, int]
    failures: Mapping[str, int]
    totals: Totals
    uploads: int

    def collect(self) -> Iterator[Metric]:
        yield from self._daemon()
        yield from self._totals()
        yield from self._workers()

    def _daemon(self) -> Iterator[Metric]:
        yield gauge("build_info", "Always 1.", {(__version__,): 1}, ["version"])
        yield gauge(
            "paused", "1 while the queue stands still.", {(): float(bool(self.status.paused))}
        )
        yield gauge(
            "settling_files", "Files seen that are not jobs yet.", {(): self.status.settling}
        )
        yield gauge("uploads", "Uploads under way.", {(): self.uploads})
        yield gauge(
            "jobs", "Jobs in the ledger.", {(s.value,): n for s, n in self.jobs.items()}, ["state"]
        )
        failed: Counter[tuple[str]] = Counter(dict.fromkeys(((kind,) for kind in KINDS), 0))
        for kind, number in self.failures.items():
            failed[(known(kind),)] += number
        yield gauge("failed_jobs", "Jobs in quarantine or skipped.", failed, ["kind"])
        rss = psutil.Process().memory_info().rss
        yield gauge("daemon_resident_bytes", "Memory of the daemon's process.", {(): rss})

    def _totals(self) -> Iterator[Metric]:
        totals = self.totals
        yield counter("frames", "Frames cleaned.", {(): totals.frames})
        ended: Counter[tuple[str, ...]] = Counter({("done", "none"): 0})
        ended.update(totals.ended)
        yield counter("jobs_ended", "Jobs that ended.", ended, ["state", "kind"])
        yield counter("workers_started", "Worker processes started.", {(): totals.workers_started})
        seconds = {
            (stage, activity): totals.stages[stage, activity]
            for stage in STAGES
            for activity in ACTIVITIES
        }
        yield counter("stage_seconds", "What stages did.", seconds, ["stage", "activity"])
        items = {(stage,): totals.stages[stage, "items"] for stage in STAGES}
        yield counter("stage_items", "Frames that stages took.", items, ["stage"])

    def _workers(self) -> Iterator[Metric]:
        slots = self.status.slots
        up = {(str(slot.slot),): float(slot.pid is not None) for slot in slots}
        yield gauge("worker_up", "1 while a slot's worker runs.", up, ["slot"])
        running = [(str(slot.slot), slot.progress) for slot in slots if slot.progress is not None]
        for name, told, field in (
            ("fps", "Frames per second of a worker's clip.", "fps"),
            ("worker_resident_bytes", "Memory of a worker's process.", "rss"),
            ("live_frames", "Frames in a worker's corridor.", "live_frames"),
            ("live_frames_bound", "The most there can be.", "live_bound"),
        ):
            yield gauge(name, told, {(n,): getattr(p, field) for n, p in running}, ["slot"])
        queues = [(n, q, p.queues[q]) for n, p in running for q in QUEUES if q in p.queues]
        fill = {(n, name): queue.queued for n, name, queue in queues}
        yield gauge("queue_frames", "Frames in a queue.", fill, ["slot", "queue"])
        room = {(n, name): queue.capacity for n, name, queue in queues}
        yield gauge("queue_capacity_frames", "Room of a queue.", room, ["slot", "queue"])
        caps = {
            (n, stage): p.batch_caps[stage]
            for n, p in running
            for stage in STAGES
            if stage in p.batch_caps
        }
        yield gauge("batch_cap_frames", "Frames that a batch may have.", caps, ["slot", "stage"])
        yield from self._gpus(running)

    def _gpus(self, running: list[tuple[str, WorkProgress]]) -> Iterator[Metric]:
        gpus = [(n, p.gpu) for n, p in running if p.gpu is not None]
        for name, told, field in (
            ("gpu_free_bytes", "Free memory of a worker's GPU.", "free"),
            ("gpu_total_bytes", "Memory of a worker's GPU.", "total"),
            ("gpu_utilisation_percent", "Load of a worker's GPU.", "utilisation"),
            ("gpu_temperature_celsius", "Its temperature.", "temperature"),
            ("gpu_throttled", "1 while it slows itself down.", "throttled"),
        ):
            values = {(n,): getattr(gpu, field) for n, gpu in gpus}
            found = {labels: value for labels, value in values.items() if value is not None}
            yield gauge(name, told, found, ["slot"])


Values = Mapping[Any, float]


def gauge(name: str, told: str, values: Values, labels: Sequence[str] = ()) -> Metric:
    family = GaugeMetricFamily(f"sorawm_{name}", told, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def counter(name: str, told: str, values: Values, labels: Sequence[str] = ()) -> Metric:
    family = CounterMetricFamily(f"sorawm_{name}", told, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def known(kind: str) -> str:
    """A kind of error as a label: one of `KINDS`, `none`, or `other`."""
    return kind if kind in KINDS else "other" if kind else "none"


def exposition(snapshot: Snapshot) -> bytes:
    """The snapshot in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(snapshot)
    return generate_latest(registry)
