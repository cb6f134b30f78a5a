"""A corridor: one source, some stages, bounded channels between them, one task group.

The task group never sees a stage's error: a worker reports it here, the first one cancels the
other workers, and all of them wind down before it surfaces. So exactly one exception comes out,
not a group; and as the group itself is cancelled from outside only, a cancellation of `run` is
never mistaken for a failure, nor swallowed by one.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from sorawm_pipeline.engine.channel import Channel
from sorawm_pipeline.engine.probe import CorridorSnapshot, LiveCount, QueueSnapshot, StageProbe
from sorawm_pipeline.engine.stage import Lifetime, Source, Stage
from sorawm_pipeline.engine.threads import OwnerThread, ThreadFactory
from sorawm_pipeline.engine.worker import RelayWorker, SinkWorker, SourceWorker, Worker
from sorawm_pipeline.errors import PipelineError


class Corridor:
    """Moves every item of `source` through `stages`, in order, each on its own thread.

    Args:
        source: where the items come from.
        stages: at least one; the last one is the sink.
        capacity: items a channel holds: one number for all, or one for each, from the source on.
        thread_factory: makes the owner of each stage from its name.
        clock: the seconds that the probes read.
        on_consumed: called on the event loop after each batch of the sink with the number of
            items consumed so far. Must not block; if it raises, the run fails.

    Attributes:
        live_bound: most items that can exist at once: all capacities, and of every stage the
            largest batch it can take (its max_cap, or its channel's capacity if that is less),
            and what the source and the stages hold between calls. The source's reads add
            nothing, for it reads only what fits. Tight: a stuck sink makes it come true.
    """

    def __init__(
        self,
        source: Source[Any],
        stages: Sequence[Stage[Any, Any]],
        *,
        capacity: int | Sequence[int],
        thread_factory: ThreadFactory = OwnerThread,
        clock: Callable[[], float] = time.perf_counter,
        on_consumed: Callable[[int], None] | None = None,
    ) -> None:
        parts: list[Lifetime] = [source, *stages]
        names = [part.name for part in parts]
        if not stages:
            raise ValueError("a corridor needs at least one stage, its sink")
        if any(stage.max_cap < 1 for stage in stages):
            raise ValueError("a stage's max_cap must be at least 1")
        if len(set(names)) < len(names):
            raise ValueError(f"the names of a corridor's parts must differ: {', '.join(names)}")
        capacities = [capacity] * len(stages) if isinstance(capacity, int) else list(capacity)
        if len(capacities) != len(stages):
            raise ValueError(
                f"{len(stages)} channels need as many capacities, not {len(capacities)}"
            )

        self.live_bound = (
            sum(capacities)
            + sum(part.held for part in parts)
            + sum(min(stage.max_cap, size) for stage, size in zip(stages, capacities, strict=True))
        )
        self._live = LiveCount(self.live_bound)
        self._make_thread = thread_factory
        self._errors: list[PipelineError] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self._channels: dict[str, Channel[Any]] = {
            f"{a}->{b}": Channel(size)
            for (a, b), size in zip(pairwise(names), capacities, strict=True)
        }
        channels = list(self._channels.values())
        probes = [StageProbe(clock) for _ in parts]
        self._workers: list[Worker] = [
            SourceWorker(source, channels[0], self._live, probes[0], self._fail),
            *(
                RelayWorker(stage, *ends, probe, self._fail)
                for stage, ends, probe in zip(stages, pairwise(channels), probes[1:], strict=False)
            ),
            SinkWorker(stages[-1], channels[-1], self._live, on_consumed, probes[-1], self._fail),
        ]

    async def run(self) -> None:
        """Run to the end of the source; returns only when no thread of it runs any more.

        Cancellation: waits for the blocking calls under way, closes everything on its own thread,
        then raises CancelledError, even if a stage has failed before or meanwhile; that failure
        is then a note on it.

        Raises:
            PipelineError: the first failure. An error that a stage raised as a PipelineError is
                that error with `stage` filled in; any other is the cause of a StageError that
                names the stage and the first item at hand. Failures after the first are notes.
            RuntimeError: it has been run before.
        """
        if self._started:
            raise RuntimeError("a corridor runs only once")
        self._started = True
        owners = [self._make_thread(worker.name) for worker in self._workers]
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks.extend(
                    group.create_task(worker.run(owner), name=worker.name)
                    for worker, owner in zip(self._workers, owners, strict=True)
                )
        except asyncio.CancelledError as cancelled:
            self._note_failures(cancelled, "while cancelled")
            raise
        finally:
            self._tasks.clear()
            for channel in self._channels.values():
                channel.discard()
        if self._errors:
            self._raise_first()

    def snapshot(self) -> CorridorSnapshot:
        """Return the present figures; call it on the loop thread, at any time, also afterwards."""
        return CorridorSnapshot(
            stages={worker.name: worker.probe.snapshot() for worker in self._workers},
            queues={
                name: QueueSnapshot(channel.capacity, len(channel), channel.peak)
                for name, channel in self._channels.items()
            },
            live=self._live.snapshot(),
            consumed=self._live.consumed,
        )

    def _fail(self, error: PipelineError) -> None:
        self._errors.append(error)
        if len(self._errors) == 1:
            failing = asyncio.current_task()
            for task in self._tasks:
                if task is not failing:
                    task.cancel()

    def _raise_first(self) -> None:
        first = self._errors.pop(0)
        _release_frames(first)
        self._note_failures(first, "then")
        try:
            raise first
        finally:
            del first  # an error in a local of its own traceback is a cycle

    def _note_failures(self, error: BaseException, when: str) -> None:
        for failure in self._errors:
            error.add_note(f"{when}: {failure}")
        self._errors.clear()


def _release_frames(error: BaseException) -> None:
    """Empty the finished frames of its tracebacks, which would keep a whole batch alive."""
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
