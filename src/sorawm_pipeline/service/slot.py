"""One slot: a worker process, and the job it is at."""

from __future__ import annotations

import asyncio
import json
import uuid
from functools import partial
from typing import Literal

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError, DeviceError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.report import readable
from sorawm_pipeline.service import identity, space, wire
from sorawm_pipeline.service.endings import Endings
from sorawm_pipeline.service.events import JobChanged, JobProgress, WorkerChanged
from sorawm_pipeline.service.helping import Helping
from sorawm_pipeline.service.jobs import Failure, Fingerprint, Job, JobState, Result
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.loans import Borrower
from sorawm_pipeline.service.names import staging_folder
from sorawm_pipeline.service.scan import Scope, reached_without_links
from sorawm_pipeline.service.shared import Shared
from sorawm_pipeline.service.threads import Desk
from sorawm_pipeline.service.worker import PROGRAM, Bounds, WorkerProcess

FINAL_KINDS = frozenset({"unreadable", "no_video", "unsupported", "too_large", "config"})
"""Kinds of failure that another attempt would only repeat."""

LONGEST_BACKOFF_S = 3600.0
ROOT_AWAY_S = 10.0
WORKER_WAIT_S = 15.0
SOON_S = 0.05

Interruption = Literal["cancel", "stop", "space", "pause"]
log = get_logger(__name__)


class Slot:
    """Takes one job after another, as long as the gate is open.

    Args:
        number: of this slot, from 0.
        config: of the daemon, with the device of this slot.
        bounds: of the worker process.
        scope: of the watched folder, or None.
        shared: what the daemon's parts have in common.
        endings: what publishes and cleans up.
        program: what to start as a worker.

    Attributes:
        job: the job in hand, or None.
        progress: the newest of that job, or None.
        stopping: set it, and ring the bell, to end `run`.
        interrupted: whether a stop has ended an attempt.
    """

    def __init__(
        self,
        number: int,
        config: PipelineConfig,
        bounds: Bounds,
        scope: Scope | None,
        shared: Shared,
        endings: Endings,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self.number = number
        self.config = config
        self.bounds = bounds
        self.job: Job | None = None
        self.progress: wire.WorkProgress | None = None
        self.stopping = False
        self.interrupted = False
        self._helping = Helping(number, self._wanted, self._drop_worker)
        self._scope = scope
        self._books, self._gate, self._room = shared.books, shared.gate, shared.room
        self._bell, self._hub, self._clock = shared.bell, shared.hub, shared.clock
        self._loans = shared.loans
        self._endings = endings
        self._program = program
        self._worker: WorkerProcess | None = None
        self._stale = False
        self._work: asyncio.Task[wire.Cleaned | DeviceError] | None = None
        self._why: Interruption | None = None
        self._desk = Desk(f"slot {number}")

    @property
    def pid(self) -> int | None:
        return self._worker.pid if self._worker is not None and self._worker.alive else None

    @property
    def helps(self) -> int | None:
        """The job of another slot of which it does pieces."""
        return self._helping.job

    def interrupt(self, why: Interruption) -> None:
        """End the attempt in hand, or what follows it; harmless if there is none.

        A cancellation outdoes what was asked for before it; else the first one counts.
        """
        if self.job is not None and (self._why is None or why == "cancel"):
            self._why = why
            if self._work is not None:
                self._work.cancel()

    @property
    def in_pieces(self) -> bool:
        """Whether the attempt in hand can rest without losing much."""
        return self.progress is not None and self.progress.in_pieces

    def rest(self) -> None:
        """End the attempt in hand when its pieces at work are done; harmless if it has none."""
        if self._work is not None and self._worker is not None and self.in_pieces:
            self._worker.rest()

    def renew(self, config: PipelineConfig, bounds: Bounds) -> None:
        """Start the next job with another configuration, in a fresh worker."""
        self.config, self.bounds, self._stale = config, bounds, True

    async def run(self) -> None:
        """Until `stopping` is set and the job in hand has ended."""
        try:
            while (job := await self._next()) is not None:
                self.job, self.progress, self._why = job, None, None
                try:
                    self._hub.tell(JobChanged(job))
                    await self._do(job)
                    if self._why == "cancel":  # it may have come when no worker was at it
                        await self._take_off(job)
                finally:
                    self.job = self.progress = None
        finally:
            try:
                await self._drop_worker("the slot ends")
            finally:
                await self._desk.close()

    async def _next(self) -> Job | None:
        claim = uuid.uuid4().hex
        while not self.stopping:
            rings = self._bell.rings
            if self._gate.reasons:
                await self._bell_or_gate()
                continue
            now = self._clock()
            job = await self._books.keep(partial(Ledger.claim, claim=claim, now=now))
            if job is not None:
                return job
            if (borrower := self._loans.neediest) is not None and await self._help(borrower):
                continue
            await self._bell.wait(await self._until_due(), after=rings)
        return None

    async def _until_due(self) -> float | None:
        """Seconds until a job may be begun that none waits for before; None: nothing waits."""
        due = await self._books.keep(lambda ledger: ledger.next_due())
        return None if due is None else max(SOON_S, due - self._clock())

    async def _bell_or_gate(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._gate.passed()), group.create_task(self._bell.wait())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _help(self, borrower: Borrower) -> bool:
        """Whether another slot's clip could be helped with."""
        try:
            worker = await self._ready()
        except (DeviceError, ConfigError, OSError):
            return False  # the next job of its own will tell why
        return await self._helping.help(borrower, worker)

    async def _wanted(self) -> None:
        """Until a job may be begun, or none may be any more."""
        while not (self.stopping or self._gate.reasons):
            rings = self._bell.rings
            wait = await self._until_due()
            if wait is not None and wait <= SOON_S:
                return
            await self._bell.wait(wait, after=rings)

    # one attempt

    async def _do(self, job: Job) -> None:
        """Bring a running job to its next state, whatever happens."""
        if not await self._may_start(job):
            return
        try:
            worker = await self._ready()
        except (DeviceError, ConfigError, OSError) as error:
            reason = error.message if isinstance(error, DeviceError | ConfigError) else str(error)
            self._gate.close("workers", f"no worker can be started: {reason}")
            await self._release(job)
            await self._bell.wait(WORKER_WAIT_S)
            self._gate.open("workers")
            return
        if self._why is not None:
            await self._interrupted(job)
            return
        async with asyncio.TaskGroup() as group:
            work = self._work = group.create_task(self._clean(worker, job))
        self._work = None
        if work.cancelled():
            await self._interrupted(job)
            return
        cleaned = work.result()
        if isinstance(cleaned, DeviceError):
            await self._drop_worker(cleaned.message)
            await self._failed(job, Failure(cleaned.kind, cleaned.message))
        elif cleaned.outcome == "done":
            await self._staged(job, cleaned)
        elif cleaned.failure is not None:
            await self._failed(job, Failure(**cleaned.failure.model_dump()))
        else:
            await self._release(job)

    async def _clean(self, worker: WorkerProcess, job: Job) -> wire.Cleaned | DeviceError:
        free = await self._desk.call(lambda: self._room.free(job.output.parent))
        most = max(1 << 20, free - space.least(self.config.service.min_free))
        staged = staging_folder(job) / job.output.name
        borrower = Borrower(job, worker, most)
        try:
            return await worker.clean(
                job.source.path,
                staged,
                most,
                lambda told: self._progressed(job, told, borrower),
                borrower.hear,
            )
        except DeviceError as error:
            return error
        finally:
            self._loans.close(borrower)

    def _progressed(self, job: Job, progress: wire.WorkProgress, borrower: Borrower) -> None:
        self.progress = progress
        here = self.config.cluster.address is None
        if progress.in_pieces and here and self._loans.open(borrower):
            self._bell.ring()  # who has nothing to do may help
        self._hub.tell(JobProgress(self.number, job.id, progress))

    async def look_at_room(self) -> None:
        """Interrupt the attempt in hand if its disk is running full."""
        job, least = self.job, space.least(self.config.service.min_free)
        if job is not None and not await self._enough(job, least):
            self.interrupt("space")

    async def _enough(self, job: Job, need: int) -> bool:
        return await self._desk.call(lambda: self._room.enough(job.output.parent, need))

    async def _may_start(self, job: Job) -> bool:
        """Whether source and disk are as they should be; else the job is put where it belongs."""
        await self._endings.discard(job, keep_pieces=True)
        if await self._source_is_off(job):
            return False
        need = space.needed(job, self.config.service.min_free)
        if not await self._enough(job, need):
            self._room.wait_for(job.output.parent, need)
            await self._release(job)
            return False
        return True

    async def _source_is_off(self, job: Job) -> bool:
        """Deal with a source that is gone or has changed; False if it is as it was admitted."""
        path = job.source.path
        try:
            there = await self._desk.call(lambda: self._fingerprint(job))
        except OSError as error:
            message = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
            await self._failed(job, Failure("device", message), look=False)
            return True
        if there == job.source.fingerprint:
            return False
        watched = self._scope is not None and path.is_relative_to(self._scope.root)
        if there is None and watched and self._scope is not None and self._scope.mark() is None:
            await self._release(job, not_before=self._clock() + ROOT_AWAY_S)
            return True
        await self._endings.discard(job)
        now = self._clock()
        gone = await self._books.keep(lambda ledger: ledger.gone(job.id, now))
        log.info("the source is gone or has changed", job=job.id, file=path)
        self._hub.tell(JobChanged(gone))
        self._bell.ring()
        return True

    def _fingerprint(self, job: Job) -> Fingerprint | None:
        path, scope = job.source.path, self._scope
        watched = scope is not None and path.is_relative_to(scope.root)
        if scope is not None and watched and not reached_without_links(scope.root, path):
            return None
        return identity.fingerprint(path)

    async def _staged(self, job: Job, cleaned: wire.Cleaned) -> None:
        if await self._source_is_off(job):
            return
        if self._why == "cancel":
            await self._interrupted(job)
            return
        result = Result(Fingerprint(cleaned.size, cleaned.mtime_ns), cleaned.digest)
        report = _with_final_name(cleaned.report or "{}", job)
        await self._books.keep(lambda ledger: ledger.staged(job.id, result, report))
        staged = await self._books.keep(lambda ledger: ledger.job(job.id))
        if staged is not None and staged.state is not JobState.PAUSED:  # paused in that moment
            await self._endings.finish(staged)
        self._bell.ring()

    async def _failed(self, job: Job, failure: Failure, *, look: bool = True) -> None:
        """An attempt failed: the disk's fault, the source's, or the clip's."""
        await self._endings.discard(job, keep_pieces=True)
        if look and await self._source_is_off(job):
            return
        least = space.least(self.config.service.min_free)
        if failure.kind == "no_space" or not await self._enough(job, least):
            free = await self._desk.call(lambda: self._room.free(job.output.parent))
            self._room.wait_for(job.output.parent, free + job.source.fingerprint.size + 1)
            await self._release(job)
            return
        service, now = self.config.service, self._clock()
        retry_at = None
        if failure.kind not in FINAL_KINDS and job.attempts <= service.retries:
            wait = min(service.backoff_s * 2 ** min(job.attempts - 1, 20), LONGEST_BACKOFF_S)
            retry_at = now + wait
        ended = await self._books.keep(lambda ledger: ledger.fail(job.id, failure, now, retry_at))
        log.info("failed", job=job.id, kind=failure.kind, reason=failure.message, again=retry_at)
        if ended.state == JobState.QUARANTINED:
            log.warning("quarantined", job=job.id, file=job.source.path, kind=failure.kind)
            await self._endings.finish(ended)
        self._hub.tell(JobChanged(ended))

    async def _interrupted(self, job: Job) -> None:
        await self._endings.discard(job, keep_pieces=self._why != "cancel")
        self.interrupted |= self._why == "stop"
        if self._why == "cancel":
            now = self._clock()
            cancelled = await self._books.keep(lambda ledger: ledger.cancel(job.id, now))
            self._hub.tell(JobChanged(cancelled))
            return
        if self._why == "pause":
            self._bell.ring()
            return
        if self._why == "space":
            need = space.needed(job, self.config.service.min_free)
            self._room.wait_for(job.output.parent, need)
        await self._release(job)

    async def _take_off(self, job: Job) -> None:
        """A cancelled job that waits, as its attempt could not be interrupted, waits no more."""
        now = self._clock()
        cancelled = await self._books.keep(
            lambda ledger: ledger.cancel(job.id, now, only_waiting=True)
        )
        self._hub.tell(JobChanged(cancelled))

    async def _release(self, job: Job, not_before: float = 0.0) -> None:
        now = self._clock()
        released = await self._books.keep(lambda ledger: ledger.release(job.id, now, not_before))
        self._hub.tell(JobChanged(released))

    # the worker

    async def _ready(self) -> WorkerProcess:
        worker = self._worker
        if worker is not None:
            if not worker.alive:
                await self._drop_worker("it has ended by itself")
            elif self._stale or worker.jobs >= self.config.service.recycle_after:
                await self._drop_worker("it is replaced by a fresh one")
        if self._worker is None:
            self._stale = False
            self._worker = await WorkerProcess.start(
                self.config, self.bounds, program=self._program
            )
            self._hub.tell(WorkerChanged(self.number, self._worker.pid, "started"))
        return self._worker

    async def _drop_worker(self, reason: str) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()
            log.info("worker ended", worker=worker.pid, reason=reason)
            self._hub.tell(WorkerChanged(self.number, None, reason))


def _with_final_name(report: str, job: Job) -> str:
    """The clip's report, which names the staged file, naming the result."""
    told = json.loads(report)
    told["output"] = readable(job.output)
    return json.dumps(told)
