"""Everything that happens, as Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import count
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from sorawm_pipeline.report import Text
from sorawm_pipeline.service.events import (
    Event,
    Heartbeat,
    JobChanged,
    JobProgress,
    QueueChanged,
    WorkerChanged,
)
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.http.state import Served, State
from sorawm_pipeline.service.http.views import JobView, ProgressView

LISTENERS = 64
"""Most clients that listen at once."""

router = APIRouter(prefix="/api", tags=["events"])


class ProgressTold(BaseModel):
    slot: int
    job: int
    progress: ProgressView


class WorkerTold(BaseModel):
    slot: int
    pid: int | None
    reason: Text


class QueueTold(BaseModel):
    paused: Text | None


async def room_to_listen(served: Served) -> AsyncIterator[None]:
    """Counts a listener in and out; a stream that has begun could not be refused any more."""
    served.need_daemon()
    if served.listeners >= LISTENERS:
        raise RequestError(503, "busy", "too many clients listen already")
    served.listeners += 1
    try:
        yield
    finally:
        served.listeners -= 1


@router.get("/events", response_class=EventSourceResponse, dependencies=[Depends(room_to_listen)])
async def events(served: Served) -> AsyncIterator[ServerSentEvent]:
    """`status` at once and every few seconds, `job`, `progress`, `worker`, `queue` as they come."""
    numbers = count(1)
    async with aclosing(served.daemon.events()) as happening:
        yield told("status", await served.status(), next(numbers))
        async for event in happening:
            name, data = await translated(served, event)
            yield told(name, data, next(numbers))


def told(name: str, data: BaseModel, number: int) -> ServerSentEvent:
    return ServerSentEvent(event=name, data=data, id=str(number))


async def translated(served: State, event: Event) -> tuple[str, Any]:
    """The name and content of an event as clients get it."""
    match event:
        case JobChanged(job):
            return "job", JobView.of(job)
        case JobProgress(slot, job, progress):
            return "progress", ProgressTold(slot=slot, job=job, progress=ProgressView.of(progress))
        case WorkerChanged(slot, pid, reason):
            return "worker", WorkerTold(slot=slot, pid=pid, reason=reason)
        case QueueChanged(paused):
            return "queue", QueueTold(paused=paused)
        case Heartbeat():
            return "status", await served.status()
