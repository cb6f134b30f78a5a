"""From a file in the watched folder to a job in the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service import identity, wire
from sorawm_pipeline.service.admission import Admission, Ready
from sorawm_pipeline.service.endings import Endings
from sorawm_pipeline.service.events import JobChanged
from sorawm_pipeline.service.inspector import Inspector
from sorawm_pipeline.service.jobs import (
    Admitted,
    Failure,
    Fingerprint,
    JobState,
    Source,
    Verdict,
)
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.names import claims_to_be_video
from sorawm_pipeline.service.scan import Scope, Seen, look
from sorawm_pipeline.service.shared import Shared
from sorawm_pipeline.service.signals import Bell
from sorawm_pipeline.service.threads import Desk

CHUNK = 500
"""Files that are looked up in the ledger in one call."""

IDLE_S = 60.0
"""With nothing to look at for so long, the inspecting process is ended."""

log = get_logger(__name__)


class Intake:
    """Everything between `Watch` and the ledger.

    Args:
        config: of the daemon.
        scope: what is watched.
        output: the folder of the results, absolute.
        inspector: says what a file is.
        shared: what the daemon's parts have in common.
        endings: what writes reason files.
        clock: seconds that do not jump.
    """

    def __init__(
        self,
        config: PipelineConfig,
        scope: Scope,
        output: Path,
        inspector: Inspector,
        shared: Shared,
        endings: Endings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.scope = scope
        self.admission = Admission(config.input.settle_s)
        self._output = output
        self._inspector = inspector
        self._books, self._hub = shared.books, shared.hub
        self._bell, self._wall = shared.bell, shared.clock
        self._endings = endings
        self._clock = clock
        self._desk = Desk("scan")
        self._to_look: set[Path] = set()
        self._changed = asyncio.Event()
        self._due = Bell()
        self._dismissed: dict[Path, Fingerprint] = {}
        self._told: set[Path] = set()

    def changed(self, paths: Sequence[Path]) -> None:
        """Look at these paths, soon."""
        self._to_look.update(paths)
        self._changed.set()

    def reconsider(self) -> None:
        """Forget what was found to be no clip; used when limits may have changed."""
        self._dismissed.clear()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look())
                group.create_task(self._inspect_what_settles())
        finally:
            await self._desk.close()

    # seeing

    async def _look(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.look()

    async def look(self) -> None:
        """Look at everything that `changed` named since the last time."""
        paths, self._to_look = sorted(self._to_look), set()
        scope = self.scope
        if scope.root in paths:
            paths = [scope.root]
        seen = await self._desk.call(partial(look, scope, paths, self._refused))
        await self._take_note(paths, seen)

    async def _take_note(self, paths: Sequence[Path], seen: Sequence[Seen]) -> None:
        there = {one.path for one in seen if one.fingerprint is not None}
        for path in paths:  # folders are known by what was in them
            for candidate in self.admission.below(path):
                if candidate not in there:
                    self.admission.drop(candidate)
        new = [
            (one.path, one.fingerprint)
            for one in seen
            if one.fingerprint is not None and self._dismissed.get(one.path) != one.fingerprint
        ]
        for one in seen:
            if one.fingerprint is None:
                self._dismissed.pop(one.path, None)
        fingerprints = dict(new)
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            for path in await self._books.keep(partial(Ledger.unknown, seen=chunk)):
                self.admission.see(path, fingerprints[path], self._clock())
        self._due.ring()

    def _refused(self, path: Path, error: OSError) -> None:
        """Told once; may be called from the scanning thread."""
        if path not in self._told:
            self._told.add(path)
            log.warning("cannot be looked at", path=path, reason=error.strerror or str(error))

    # judging

    async def _inspect_what_settles(self) -> None:
        while True:
            rings = self._due.rings
            await self.judge()
            due = self.admission.next_due()
            if due is not None:
                await self._due.wait(due - self._clock(), after=rings)
            else:
                await self._due.wait(IDLE_S, after=rings)
                if not len(self.admission):
                    await self._inspector.rest()

    async def judge(self) -> None:
        """Have every file looked at that has stood still long enough."""
        for ready in self.admission.ready(self._clock()):
            await self._judge(ready)

    async def _judge(self, ready: Ready) -> None:
        last = ready.still_s >= self.config.input.patience_s
        try:
            found = await self._inspector.inspect(ready.path, last=last)
        except DeviceError as error:
            if error.kind == "device" or ready.looks < 1 + self.config.service.retries:
                self.admission.again(ready, self._clock())
            else:
                await self._give_up(ready, Failure(error.kind, error.message))
            return
        if not self.admission.unchanged(ready):
            return  # it changed meanwhile and waits anew
        match found.verdict:
            case "whole":
                await self._admit(ready, found)
            case "changed":
                self.admission.drop(ready.path)
                self.changed([ready.path])
            case "unreadable":
                self._refused(ready.path, OSError(0, found.failure and found.failure.message))
                self.admission.again(ready, self._clock())
            case "broken":
                await self._judge_broken(ready, found, last)

    async def _judge_broken(self, ready: Ready, found: wire.Inspected, last: bool) -> None:
        assert found.failure is not None
        meant = claims_to_be_video(ready.path) or (found.opens and found.failure.kind != "no_video")
        if not meant and not found.opens:
            self._dismiss(ready)
        elif not last:
            self.admission.again(ready, self._clock())
        elif not meant:
            self._dismiss(ready)
        else:
            source = Source(ready.path, Fingerprint(found.size, found.mtime_ns), found.digest)
            await self._reject(source, Failure(**found.failure.model_dump()))

    def _dismiss(self, ready: Ready) -> None:
        log.info("no clip", file=ready.path)
        self._dismissed[ready.path] = ready.fingerprint
        self.admission.drop(ready.path)

    async def _admit(self, ready: Ready, found: wire.Inspected) -> None:
        fingerprint = Fingerprint(found.size, found.mtime_ns)
        if fingerprint != ready.fingerprint:
            self.admission.drop(ready.path)
            self.changed([ready.path])
            return
        await self._take_in(Source(ready.path, fingerprint, found.digest))

    async def _take_in(self, source: Source) -> None:
        now, output = self._wall(), self.output_of(source.path)
        admitted = await self._books.keep(lambda ledger: ledger.admit(source, output, now))
        self.admission.drop(source.path)
        self._tell(admitted)
        if admitted.verdict is Verdict.NEW:
            await self._endings.forgive(source.path)
        elif not admitted.job.settled:  # a copy of what is in quarantine
            await self._endings.finish(admitted.job)

    def _tell(self, admitted: Admitted) -> None:
        job = admitted.job
        log.info("admitted", file=job.source.path, job=job.id, verdict=str(admitted.verdict))
        self._hub.tell(JobChanged(job))
        if job.state is JobState.WAITING:
            self._bell.ring()

    async def _give_up(self, ready: Ready, failure: Failure) -> None:
        """A file that no process survives is read for its digest here: that decodes nothing."""
        try:
            source = await self._desk.call(lambda: identity.source(ready.path))
        except OSError:
            source = None
        if source is None or source.fingerprint != ready.fingerprint:
            self.admission.again(ready, self._clock())
            return
        await self._reject(source, failure)

    async def _reject(self, source: Source, failure: Failure) -> None:
        now, output = self._wall(), self.output_of(source.path)
        job = await self._books.keep(lambda ledger: ledger.reject(source, output, failure, now))
        self.admission.drop(source.path)
        if job.state is JobState.QUARANTINED:
            log.warning("quarantined", job=job.id, file=job.source.path, kind=failure.kind)
            await self._endings.finish(job)
        self._hub.tell(JobChanged(job))

    def output_of(self, path: Path) -> Path:
        """The result's final name: the same place below the output folder."""
        return self._output / path.relative_to(self.scope.root)
