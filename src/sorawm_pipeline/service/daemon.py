"""The daemon: holds the watched folder, the ledger and the workers together.

What stands above it (the HTTP API, the dashboard, the command line) uses what is public here:

- `submit`, `cancel`, `retry`, `forget` change things; `status` and `ledger` tell how they are:
  `await daemon.ledger.call(lambda ledger: ledger.jobs())`;
- `events` is the stream of everything that happens;
- `stop` and `stop_now` end `run`; `reload` takes another configuration.

The daemon itself opens no media file: that is done in worker processes, which it can lose.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError, DeviceError, InputError, OutputError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service import limits, wire
from sorawm_pipeline.service.books import Books
from sorawm_pipeline.service.endings import Endings
from sorawm_pipeline.service.events import Event, EventHub, Heartbeat, JobChanged, QueueChanged
from sorawm_pipeline.service.inspector import Inspector
from sorawm_pipeline.service.intake import Intake
from sorawm_pipeline.service.jobs import Fingerprint, Job, JobState, Source
from sorawm_pipeline.service.ledger_thread import LedgerThread
from sorawm_pipeline.service.loans import Loans
from sorawm_pipeline.service.lock import alone
from sorawm_pipeline.service.notify import Notifier
from sorawm_pipeline.service.room import Room
from sorawm_pipeline.service.scan import Scope
from sorawm_pipeline.service.shared import Shared
from sorawm_pipeline.service.signals import Bell, Gate
from sorawm_pipeline.service.slot import Slot
from sorawm_pipeline.service.watch import Events, Watch, file_events
from sorawm_pipeline.service.worker import PROGRAM

GRACE_S = 10.0
"""How long running jobs may go on after the first request to stop."""

HURRY_S = 20.0
"""How long cleaning up may take after that."""

TURN_S = 60.0
"""How long a clip in pieces is worked on, at least, before it gives way to others."""

TICK_S = 2.0
UNSETTLED_S = 300.0
"""Seconds between attempts at left-overs that could not be removed."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A slot: its worker's process id, or None, and its job with the newest progress, or None.

    `helps` is the job of another slot of which it does pieces, having none of its own.
    """

    slot: int
    device: str
    pid: int | None
    job: int | None
    progress: wire.WorkProgress | None
    helps: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon at one moment.

    Attributes:
        slots: in order.
        paused: why the queue stands still, by topic (`disk`, `ledger`, `publish`, `workers`).
        watched: the watched folder, or None.
        watching: whether that is there.
        settling: files that were seen and are not jobs yet.
        stopping: whether it has been asked to stop.
    """

    slots: tuple[SlotStatus, ...]
    paused: dict[str, str]
    watched: Path | None
    watching: bool
    settling: int
    stopping: bool


class Daemon:
    """Build it and await `run`, which may be done once.

    Args:
        config: `input.watch` None: nothing is watched, jobs come by `submit` alone.
        output: the folder of the results; None: as configured.
        notifier: who is told that it is up.
        program: what to start as a worker.
        events: what tells of changes in the watched folder.

    Attributes:
        config: as it is now.
        output: the folder of the results, absolute.
        ledger: from when `up` is set.
        up: set once jobs are taken.

    Raises:
        ConfigError: the watched folder and that of the results are in each other's way, or a
            cluster is asked for that ends with its workers.
    """

    def __init__(
        self,
        config: PipelineConfig,
        output: Path | None = None,
        *,
        notifier: Notifier | None = None,
        program: tuple[str, ...] = PROGRAM,
        events: Events | None = None,
    ) -> None:
        if config.cluster.address == "local":
            raise ConfigError(
                'cluster.address: "local" begins and ends with one command; for a daemon, '
                "start Ray and give its address"
            )
        self.config = config
        self.output = (output or config.output.folder).absolute()
        self.ledger_path = limits.ledger_path(config)
        self._notifier = notifier or Notifier()
        self._program = program
        self._file_events = events or file_events(force_polling=config.input.force_polling)
        self._scope = self._new_scope(config)
        self._hub = EventHub()
        self._bell = Bell()
        self._gate = Gate(self._queue_changed)
        self._stopping = False
        self._timers: list[asyncio.TimerHandle] = []
        self._slots: list[Slot] = []
        self._intake: Intake | None = None
        self._watch: Watch | None = None
        self._task: asyncio.Task[Any] | None = None
        self._changes = asyncio.Event()
        self.up = asyncio.Event()

    # running

    async def run(self) -> bool:
        """Until stopped; True if nothing that ran was interrupted.

        Raises:
            ConfigError: another daemon uses the ledger, a newer program wrote it, or no clip can
                be cleaned with this configuration.
            sqlite3.DatabaseError: the ledger is damaged.
        """
        self._task = asyncio.current_task()
        with alone(self.ledger_path):
            self.ledger = LedgerThread(self.ledger_path)
            try:
                await self._run()
            finally:
                for timer in self._timers:
                    timer.cancel()
                self._hub.close()
                await self.ledger.close()
        return not any(slot.interrupted for slot in self._slots)

    async def _run(self) -> None:
        await self._open_ledger()
        self._build()
        now = time.time()
        for job in await self._books.keep(lambda ledger: ledger.recover(now)):
            log.info("interrupted by the end of an earlier daemon", job=job.id)
            await self._endings.discard(job, keep_pieces=True)
        try:
            await self._start_inspector()
            log.info("ready", ledger=self.ledger_path, workers=len(self._slots))
            self._notifier.ready()
            self.up.set()
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(work) for work in self._background()]
                async with asyncio.TaskGroup() as hands:
                    for slot in self._slots:
                        hands.create_task(slot.run())
                for task in background:
                    task.cancel()
        except asyncio.CancelledError:
            if not self._stopping or self._task is None:
                raise
            self._task.uncancel()  # `stop_now` was not obeyed in time
        finally:
            self._notifier.stopping()
            await self._inspector.rest()
            await self._endings.close()

    def _build(self) -> None:
        config = self.config
        self._books = Books(self.ledger, self._gate)
        self._room = Room(self._gate)
        shared = Shared(
            self._books, self._gate, self._room, self._bell, self._hub, Loans(), clock=time.time
        )
        root = self._scope.root if self._scope is not None else None
        self._endings = Endings(config, root, shared, lambda: self._stopping)
        self._inspector = Inspector(config, limits.inspector_bounds(config), self._program)
        bounds = limits.bounds(config)
        self._slots = [
            Slot(
                number,
                config.model_copy(update={"device": device}),
                bounds,
                self._scope,
                shared,
                self._endings,
                self._program,
            )
            for number, device in enumerate(limits.devices(config))
        ]
        for slot in self._slots:
            slot.stopping = self._stopping
        if self._scope is not None:
            self._intake = Intake(
                config, self._scope, self.output, self._inspector, shared, self._endings
            )
            self._watch = Watch(self._scope, config.input.rescan_s, self._file_events, log.warning)

    def _background(self) -> list[Coroutine[Any, Any, None]]:
        work = [self._recover(), self._tick(), self._listen()]
        if self._intake is not None and self._watch is not None:
            work += [self._intake.run(), self._watch.run(self._intake.changed)]
        return work

    async def _open_ledger(self) -> None:
        """Fail now if the ledger is no good, wait if the disk is."""
        try:
            await self.ledger.call(lambda ledger: ledger.counts())
        except sqlite3.OperationalError as error:
            log.warning("the ledger cannot be opened yet", reason=str(error))

    async def _start_inspector(self) -> None:
        """Learn early whether clips can be cleaned at all; a process that dies is tried again."""
        try:
            await self._inspector.start()
        except DeviceError as error:
            log.warning("looking at files did not start yet", reason=error.message)

    async def _recover(self) -> None:
        """Finish what an earlier daemon left, and now and then what could not be finished."""
        while True:
            for job in await self._books.keep(lambda ledger: ledger.unsettled()):
                if job.id not in [slot.job.id for slot in self._slots if slot.job is not None]:
                    await self._endings.finish(job)
            self._bell.ring()
            await asyncio.sleep(UNSETTLED_S)

    async def _tick(self) -> None:
        """Look after disk and watchdog."""
        pause = TICK_S
        if self._notifier.watchdog_s is not None:
            pause = min(pause, self._notifier.watchdog_s / 3)
        while True:
            self._notifier.alive()
            self._room.look()
            for slot in self._slots:
                await slot.look_at_room()
            await self._give_way()
            self._hub.tell(Heartbeat())
            await asyncio.sleep(pause)

    async def _give_way(self) -> None:
        """Let a long clip rest when others have waited longer than it had waited and worked.

        Not more often than every `TURN_S`: the pieces at work are finished, but nothing overlaps
        with the last of them.
        """
        if any(slot.job is None for slot in self._slots):
            return
        now = time.time()
        for slot in self._slots:
            job = slot.job
            if job is None or not slot.in_pieces or now - (job.started or now) < TURN_S:
                continue
            number = job.id
            if await self._books.keep(lambda ledger, n=number: ledger.gives_way(n, now)):  # type: ignore[misc]
                slot.rest()
                return

    async def _listen(self) -> None:
        """Do what other processes have asked for through the ledger."""
        while True:
            await self._changes.wait()
            self._changes.clear()
            await self._obey_pauses()

    async def _obey_pauses(self) -> None:
        """Stop what another process has paused."""
        for slot in self._slots:
            if slot.job is not None:
                number = slot.job.id
                job = await self._books.keep(lambda ledger, n=number: ledger.job(n))  # type: ignore[misc]
                if job is not None and job.state is JobState.PAUSED:
                    slot.interrupt("pause")

    # stopping and reloading

    def stop(self) -> None:
        """Take no new job, and give the running ones `GRACE_S` seconds; again: `stop_now`."""
        if self._stopping:
            self.stop_now()
            return
        self._stopping = True
        for slot in self._slots:
            slot.stopping = True
            slot.rest()
        self._bell.ring()
        self._later(GRACE_S, self.stop_now)

    def stop_now(self) -> None:
        """End running jobs too; they are taken up again by the next daemon."""
        if not self._stopping:
            self.stop()
        for slot in self._slots:
            slot.interrupt("stop")
        if self._task is not None:
            self._later(HURRY_S, self._task.cancel)

    def reload(self, config: PipelineConfig) -> None:
        """Go on with another configuration, as far as that is possible while running.

        The watched folder, that of the results, the ledger and the number of workers stay. Jobs in
        hand end as they began; the next ones get fresh workers.
        """
        self._notifier.reloading()
        config = limits.reloaded(self.config, config, log.warning)
        self.config = self._endings.config = self._inspector.config = config
        self._inspector.bounds = limits.inspector_bounds(config)
        bounds = limits.bounds(config)
        for slot in self._slots:
            device = {"device": slot.config.device}
            slot.renew(config.model_copy(update=device), bounds)
        if self._intake is not None and self._watch is not None:
            scope = self._new_scope(config)
            assert scope is not None
            self._scope = self._intake.scope = self._watch.scope = scope
            self._intake.config = config
            self._intake.admission.settle_s = config.input.settle_s
            self._watch.rescan_s = config.input.rescan_s
            self._intake.reconsider()
            self._watch.rescan()
        log.info("reloaded")
        self._notifier.ready()

    def look_again(self) -> None:
        """Another process has changed the ledger, or wants the folder looked at."""
        self._changes.set()
        if self._intake is not None and self._watch is not None:
            self._intake.reconsider()
            self._watch.rescan()
        self._bell.ring()

    # the seam for what stands above

    async def submit(
        self, path: Path, output: Path | None = None, *, overwrite: bool = False
    ) -> Job:
        """Take in a file from anywhere as a job, without waiting for it to settle.

        The caller vouches that `path` may be opened; it is not followed if it is a link.

        Args:
            path: the file, absolute or from the current folder.
            output: the result's final name; None: the file's own name in the output folder.
            overwrite: whether any file of that name may be replaced.

        Returns:
            The job; one in the state `duplicate` names the job with the same content.

        Raises:
            InputError: it is no whole clip.
            OutputError: kind `exists`: the name belongs to another job's result.
            DeviceError: a worker could not be started, or did not survive the file.
        """
        path = Path(os.path.abspath(path))  # noqa: ASYNC240, PTH100 - names only
        final = self.output / path.name if output is None else Path(os.path.abspath(output))  # noqa: ASYNC240, PTH100
        other = await self._books.keep(lambda ledger: ledger.of_output(final))
        if other is not None and other.source.path != path:
            raise OutputError(f"{final} is the result of job {other.id}", kind="exists")
        found = await self._inspector.inspect(path, last=True)
        if found.verdict != "whole":
            told = found.failure
            raise InputError(
                told.message if told else f"{path} is not there, or is being changed",
                kind=told.kind if told else None,
            )
        source = Source(path, Fingerprint(found.size, found.mtime_ns), found.digest)
        now = time.time()
        admitted = await self._books.keep(
            lambda ledger: ledger.admit(source, final, now, overwrite=overwrite)
        )
        return self._changed(admitted.job)

    async def cancel(self, number: int) -> Job:
        """Take a job off the queue, or stop its attempt; the event tells when that has ended.

        Raises:
            LookupError: there is no such job.
        """
        now = time.time()
        job = await self._books.keep(lambda ledger: ledger.cancel(number, now, only_waiting=True))
        for slot in self._slots:  # looked at last: one may have claimed it a moment ago
            if slot.job is not None and slot.job.id == number:
                slot.interrupt("cancel")
        return self._changed(job)

    async def pause(self, number: int) -> Job:
        """Take a job off the queue until it is resumed; a running one stops. Raises as `cancel`."""
        now = time.time()
        job = await self._books.keep(lambda ledger: ledger.pause(number, now))
        for slot in self._slots:
            if job.state is JobState.PAUSED and slot.job is not None and slot.job.id == number:
                slot.interrupt("pause")
        return self._changed(job)

    async def resume(self, number: int) -> Job:
        """Put a paused job back into the queue. Raises as `cancel`."""
        return self._changed(await self._books.keep(lambda ledger: ledger.resume(number)))

    async def retry(self, number: int) -> Job:
        """Put a job that ended without a result back into the queue. Raises as `cancel`."""
        job = await self._books.keep(lambda ledger: ledger.retry(number))
        await self._endings.forgive(job.source.path)
        return self._changed(job)

    async def forget(self, number: int) -> bool:
        """Delete a job that is not under way. Raises as `cancel`."""
        job = await self._books.keep(lambda ledger: ledger.job(number))
        forgotten = await self._books.keep(lambda ledger: ledger.forget(number))
        if forgotten and job is not None:
            await self._endings.discard(job)
        self.look_again()
        return forgotten

    async def events(self) -> AsyncGenerator[Event, None]:
        """Everything that happens from now on, until the daemon ends.

        A listener that falls 1000 events behind loses the oldest. Use `contextlib.aclosing`.
        """
        async with aclosing(self._hub.events()) as events:
            async for event in events:
                yield event

    def status(self) -> Status:
        """How it is at this moment; counts of jobs are the ledger's to tell."""
        return Status(
            slots=tuple(
                SlotStatus(
                    slot.number,
                    slot.config.device,
                    slot.pid,
                    slot.job.id if slot.job is not None else None,
                    slot.progress,
                    slot.helps,
                )
                for slot in self._slots
            ),
            paused=dict(self._gate.reasons),
            watched=self._scope.root if self._scope is not None else None,
            watching=self._watch is not None and self._watch.there,
            settling=len(self._intake.admission) if self._intake is not None else 0,
            stopping=self._stopping,
        )

    # parts of the above

    def _later(self, seconds: float, what: Callable[[], object]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, what))

    def _changed(self, job: Job) -> Job:
        self._hub.tell(JobChanged(job))
        if job.state is JobState.WAITING:
            self._bell.ring()
        return job

    def _queue_changed(self, reason: str | None) -> None:
        if reason is not None:
            log.warning("the queue stands still", reason=reason)
        else:
            log.info("the queue goes on")
        self._notifier.status(reason or "running")
        self._hub.tell(QueueChanged(reason))

    def _new_scope(self, config: PipelineConfig) -> Scope | None:
        watch = config.input.watch
        if watch is None:
            return None
        moves = config.input.after == "move"
        scope = Scope.of(watch, self.output, config.input.ignore, moves=moves)
        output = self.output.resolve()
        if output == scope.root or output in scope.root.parents:
            raise ConfigError(
                f"the results' folder {self.output} is, or holds, the watched folder {watch}; "
                "choose another one"
            )
        return scope
