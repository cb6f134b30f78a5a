"""What the routes share: the daemon and what is kept about it while it is served."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import psutil
from fastapi import Depends, Request

from sorawm_pipeline import __version__
from sorawm_pipeline.hardware.memory import read_memory
from sorawm_pipeline.service import space
from sorawm_pipeline.service.daemon import Daemon
from sorawm_pipeline.service.http.access import Access, Rate
from sorawm_pipeline.service.http.metrics import Totals
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.http.uploads import Uploads
from sorawm_pipeline.service.http.views import MachineView, StatusView, WorkerView
from sorawm_pipeline.service.jobs import Job
from sorawm_pipeline.service.ledger import Ledger

T = TypeVar("T")

TRIES_PER_SECOND = 1.0
"""Tokens that one address may try."""


@dataclass
class State:
    """One for each app; `tries` bounds tokens that are tried, `listeners` counts event streams."""

    daemon: Daemon
    access: Access
    uploads: Uploads
    totals: Totals
    tries: Rate = field(default_factory=lambda: Rate(TRIES_PER_SECOND))
    listeners: int = 0
    began: float = field(default_factory=time.monotonic)

    async def ask(self, use: Callable[[Ledger], T]) -> T:
        """Ask the ledger.

        Raises:
            RequestError: the daemon is not up yet, or ends.
            sqlite3.Error, LookupError: as `LedgerThread.call`.
        """
        self.need_daemon()
        return await self.daemon.ledger.call(use)

    async def job(self, number: int) -> Job:
        """Raises LookupError: there is none of that number."""
        job = await self.ask(lambda ledger: ledger.job(number))
        if job is None:
            raise LookupError(f"there is no job {number}")
        return job

    def need_daemon(self) -> None:
        """Raises RequestError: the daemon is not up yet, or has ended."""
        if not self.daemon.up.is_set():
            raise RequestError(503, "starting", "the daemon is not up; try again in a moment")

    def need_work(self) -> None:
        """Raises RequestError: no new jobs are taken."""
        self.need_daemon()
        if self.daemon.status().stopping:
            raise RequestError(503, "stopping", "the daemon is about to end and takes no new jobs")

    async def status(self) -> StatusView:
        status = self.daemon.status()
        counts = await self.ask(lambda ledger: ledger.counts())
        return StatusView(
            version=__version__,
            uptime_s=time.monotonic() - self.began,
            paused="; ".join(status.paused.values()) or None,
            accepting=not status.stopping,
            watched=None if status.watched is None else str(status.watched),
            watching=status.watching,
            settling=status.settling,
            jobs={state.value: count for state, count in counts.items()},
            workers=[WorkerView.of(slot) for slot in status.slots],
            machine=self._machine(),
            upload_max=self.daemon.config.service.upload_max,
            paths=bool(self.daemon.config.service.roots),
        )

    def _machine(self) -> MachineView:
        memory = read_memory()
        try:
            free = space.free_bytes(self.daemon.output)
        except OSError:
            free = None
        return MachineView(
            memory_total=memory.total,
            memory_available=memory.available,
            daemon_rss=memory.process,
            load=psutil.getloadavg()[0] / (os.cpu_count() or 1),
            disk_free=free,
        )


def _state(request: Request) -> State:
    state: State = request.app.state.served
    return state


Served = Annotated[State, Depends(_state)]
