"""The last steps of a job: its result gets its name, its source goes where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service import identity, publish, sources
from sorawm_pipeline.service.events import JobChanged
from sorawm_pipeline.service.jobs import Failure, Job, JobState
from sorawm_pipeline.service.shared import Shared
from sorawm_pipeline.service.threads import Desk

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
log = get_logger(__name__)


class Endings:
    """Publishes, quarantines and cleans up; everything that writes beside results and sources.

    Args:
        config: of the daemon.
        root: the watched folder, resolved, or None.
        shared: what the daemon's parts have in common.
        stopping: tells whether the daemon is to end, so that nothing is waited for any more.
    """

    def __init__(
        self,
        config: PipelineConfig,
        root: Path | None,
        shared: Shared,
        stopping: Callable[[], bool],
    ) -> None:
        self.config = config
        self._root = root
        self._books, self._gate = shared.books, shared.gate
        self._hub, self._bell, self._clock = shared.hub, shared.bell, shared.clock
        self._stopping = stopping
        self._desk = Desk("publish")
        self._told: set[tuple[int, str]] = set()

    async def close(self) -> None:
        await self._desk.close()

    async def finish(self, job: Job) -> Job:
        """From `staged`, or from an end that is not settled, on. Safe to repeat at any point.

        While the disk refuses, the queue stands still and it is tried again; when the daemon is to
        stop meanwhile, the job stays as it is for the next start.
        """
        if job.state == JobState.STAGED:
            job = await self._publish(job)
        if not job.settled:
            await self._settle(job)
        return job

    async def discard(self, job: Job, *, keep_pieces: bool = False) -> bool:
        """Remove what an attempt has left; whether that could be done.

        `keep_pieces` leaves those of a long clip for the next attempt.
        """
        return await self._try(
            lambda: publish.clean_up(job, keep_pieces=keep_pieces),
            "left-overs cannot be removed",
            job,
        )

    async def forgive(self, source: Path) -> None:
        """Remove the reason file of a source that has changed."""
        try:
            await self._desk.call(lambda: sources.remove_reason(source))
        except OSError as error:
            log.info("a note stays", file=source, reason=str(error))

    async def _publish(self, job: Job) -> Job:
        wait = FIRST_WAIT_S
        while True:
            rings = self._bell.rings
            try:
                placed = await self._place(job)
            except OutputError as error:
                if error.kind == "exists":
                    return await self._skip(job, error)
                self._gate.close("publish", f"results cannot be published: {error.message}")
                await self._bell.wait(wait, after=rings)
                wait = min(2 * wait, LONGEST_WAIT_S)
                if self._stopping():
                    return job
            else:
                break
        self._gate.open("publish")
        now = self._clock()
        if not placed:
            log.warning("the result was lost before it was published", job=job.id)
            released = await self._books.keep(lambda ledger: ledger.release(job.id, now))
            self._hub.tell(JobChanged(released))
            return released
        done = await self._books.keep(lambda ledger: ledger.done(job.id, now))
        self._hub.tell(JobChanged(done))
        log.info("published", job=job.id, output=job.output)
        return done

    async def _place(self, job: Job) -> bool:
        there = await self._desk.call(lambda: identity.fingerprint(job.output))
        ours = there is not None and await self._books.keep(
            lambda ledger: ledger.is_ours(job.output, there)
        )
        replace = job.overwrite or self.config.output.overwrite or ours
        return await self._desk.call(lambda: publish.place(job, may_replace=replace))

    async def _skip(self, job: Job, error: OutputError) -> Job:
        failure = Failure(error.kind, error.message)
        skipped = await self._books.keep(lambda ledger: ledger.skip(job.id, failure, self._clock()))
        log.warning("skipped", job=job.id, reason=error.message)
        self._hub.tell(JobChanged(skipped))
        return skipped

    async def _settle(self, job: Job) -> None:
        """What follows the end; left for later where the disk refuses."""
        if not await self.discard(job):
            return
        if job.state is JobState.QUARANTINED:
            if not await self._try(
                lambda: sources.write_reason(job), "the reason cannot be written", job
            ):
                return
        elif job.state is JobState.DONE:
            await self._put_source_away(job)
        await self._books.keep(lambda ledger: ledger.settle(job.id))

    async def _put_source_away(self, job: Job) -> None:
        await self._try(
            lambda: sources.remove_reason(job.source.path), "its reason file stays", job
        )
        root, after = self._root, self.config.input.after
        if root is not None and job.source.path.is_relative_to(root):
            if after == "move":
                await self._try(lambda: sources.put_away(job, root), "the source stays", job)
            elif after == "delete":
                await self._try(lambda: sources.delete(job), "the source stays", job)

    async def _try(self, what: Callable[[], object], otherwise: str, job: Job) -> bool:
        try:
            await self._desk.call(what)
        except OSError as error:
            tell = log.info if (job.id, otherwise) in self._told else log.warning
            self._told.add((job.id, otherwise))
            tell(otherwise, job=job.id, file=job.source.path, reason=str(error))
            return False
        return True
