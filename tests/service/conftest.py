"""A daemon with stub workers, on a folder of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.service.daemon import Daemon
from sorawm_pipeline.service.events import Event, JobChanged, JobProgress
from sorawm_pipeline.service.jobs import Job, JobState
from sorawm_pipeline.service.ledger import Ledger

STUB = Path(__file__).with_name("stub_worker.py")
PATIENCE_S = 30.0

ENDED = (
    *(JobState.DONE, JobState.QUARANTINED, JobState.SKIPPED, JobState.DUPLICATE),
    *(JobState.CANCELLED, JobState.GONE),
)


class House:
    """A folder with `in` and `out`, and daemons on it, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "in"
        self.outbox = folder / "out"
        self.inbox.mkdir()
        self.seen: list[Event] = []

    def config(self, **service: Any) -> PipelineConfig:
        source, more = service.pop("input", {}), service.pop("more", {})
        chosen = {"ledger": self.folder / "ledger.sqlite3", "backoff_s": 0.01, "min_free": 0}
        data = {
            "device": "cpu",
            "input": {"watch": self.inbox, "settle_s": 0.0, "patience_s": 0.0, **source},
            "output": {"folder": self.outbox},
            "service": chosen | service,
            **more,
        }
        return PipelineConfig.model_validate(data)

    @asynccontextmanager
    async def daemon(
        self,
        *,
        program: tuple[str, ...] | None = None,
        patience_s: float = PATIENCE_S,
        **service: Any,
    ) -> AsyncIterator[Daemon]:
        """A running daemon; stopped at once when left."""
        program = program or (sys.executable, "-S", str(STUB), str(self.folder))
        daemon = Daemon(self.config(**service), program=program)
        ready = asyncio.Event()

        async def listen() -> None:
            async with aclosing(daemon.events()) as events:
                ready.set()
                async for event in events:
                    self.seen.append(event)

        async with asyncio.timeout(patience_s), asyncio.TaskGroup() as group:
            group.create_task(listen())
            await ready.wait()
            running = group.create_task(daemon.run())
            while not daemon._slots:
                await asyncio.sleep(0.005)
                if running.done():
                    running.result()
            try:
                yield daemon
            finally:
                daemon.stop_now()
                await running

    def put(self, name: str, text: str) -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def until(
        self, what: Callable[[Job], bool], number: int | None = None, after: int = 0
    ) -> Job:
        """The first change of a job that `what` is true of, from the event `after` on."""
        position = after
        while True:
            while position < len(self.seen):
                event = self.seen[position]
                position += 1
                if not isinstance(event, JobChanged) or number not in (None, event.job.id):
                    continue
                if what(event.job):
                    return event.job
            await self.turn()

    async def turn(self) -> None:
        """Let the daemon work for a moment."""
        await asyncio.sleep(0.005)

    def progress_of(self, number: int) -> list[JobProgress]:
        return [e for e in self.seen if isinstance(e, JobProgress) and e.job == number]

    def jobs(self) -> list[Job]:
        """What the ledger says when no daemon runs."""
        with Ledger(self.folder / "ledger.sqlite3") as ledger:
            return ledger.jobs()

    async def ended(self, name: str) -> Job:
        """The job of a file, when it has ended."""
        path = self.inbox / name
        return await self.until(lambda job: job.source.path == path and job.state in ENDED)

    def results(self) -> dict[str, str]:
        """What lies in the output folder, by relative path."""
        files = (path for path in self.outbox.rglob("*") if path.is_file())
        return {str(path.relative_to(self.outbox)): path.read_text() for path in files}

    def log(self) -> list[str]:
        """What the stub workers did."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)
