"""What happens in the daemon, for whoever wants to watch: the dashboard, the metrics, tests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from sorawm_pipeline.service.jobs import Job
from sorawm_pipeline.service.wire import WorkProgress

BACKLOG = 1000


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job came in or changed its state; `job` is as it is now."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How the job in a slot is doing; about once a second for each running job."""

    slot: int
    job: int
    progress: WorkProgress


@dataclass(frozen=True, slots=True)
class WorkerChanged:
    """A slot's worker process started (`pid`) or ended (None); `reason` says why, in words."""

    slot: int
    pid: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """The queue paused for a reason in words, or goes on (None)."""

    paused: str | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Every few seconds, so that whoever listens can tell how things are."""


Event = JobChanged | JobProgress | WorkerChanged | QueueChanged | Heartbeat


class EventHub:
    """Passes events on. A listener that does not keep up loses the oldest, never blocks others."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    def tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put(event)

    def close(self) -> None:
        """End every listener's stream when it has taken what it has."""
        for listener in self._listeners:
            listener.end()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Every event from now on, until the daemon ends. Close it (`aclosing`) when leaving."""
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while (event := await listener.next()) is not None:
                yield event
        finally:
            self._listeners.discard(listener)


class _Listener:
    def __init__(self) -> None:
        self._waiting: deque[Event] = deque(maxlen=BACKLOG)
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, event: Event) -> None:
        self._waiting.append(event)
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def next(self) -> Event | None:
        while not self._waiting:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()
