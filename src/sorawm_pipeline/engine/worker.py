"""The task that drives one source or stage on its owner thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

from sorawm_pipeline.engine.channel import Channel
from sorawm_pipeline.engine.probe import Activity, LiveCount, StageProbe
from sorawm_pipeline.engine.stage import Lifetime, Source, Stage
from sorawm_pipeline.engine.threads import Owner
from sorawm_pipeline.errors import PipelineError, StageError

T = TypeVar("T")
Args = TypeVarTuple("Args")
Fail = Callable[[PipelineError], None]


class Worker:
    """Opens, drives and closes one part of a corridor; errors go to `fail`, never out of `run`."""

    def __init__(self, part: Lifetime, probe: StageProbe, fail: Fail) -> None:
        self.name = part.name
        self.probe = probe
        self._part = part
        self._fail = fail
        self._failed = False
        self._item: int | None = None

    async def run(self, owner: Owner) -> None:
        """Run to the end of the stream, to the first error or to cancellation.

        Returns only when the thread has ended. The stream's end is passed on last, when nothing
        of this part can fail any more. Cancellation: waits for the call under way, closes, stops
        the thread, then raises CancelledError; cancelled at once, it does not even open.
        """
        self._owner = owner
        await asyncio.sleep(0)  # none can fail before all exist, under any task factory
        try:
            try:
                await self._call(self._part.open)
                await self._work()
            except Exception as error:
                self._report(error)
            finally:
                await self._close()
        finally:
            await owner.stop()
        if not self._failed:
            self._end()

    async def _work(self) -> None:
        """Move items until the stream ends."""
        raise NotImplementedError

    def _end(self) -> None:
        """Pass the end of the stream on."""

    async def _close(self) -> None:
        self.probe.enter(Activity.NONE)
        self._item = None
        try:
            await self._call(self._part.close)
        except Exception as error:
            self._report(error)

    async def _call(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        try:
            return await self._owner.call(fn, *args)
        except asyncio.CancelledError as cancelled:
            if cancelled.__cause__ is not None:
                self._report(cancelled.__cause__)
            raise

    def _report(self, error: BaseException) -> None:
        self._failed = True
        self._fail(named(error, self.name, self._item))

    def _broken(self, promise: str) -> StageError:
        message = f"stage {self.name} broke a promise to the engine: {promise}"
        return StageError(message, stage=self.name, item=self._item)


class SourceWorker(Worker):
    def __init__(
        self,
        source: Source[Any],
        outbox: Channel[Any],
        live: LiveCount,
        probe: StageProbe,
        fail: Fail,
    ) -> None:
        super().__init__(source, probe, fail)
        self._source = source
        self._outbox = outbox
        self._live = live

    async def _work(self) -> None:
        source, outbox, probe, live = self._source, self._outbox, self.probe, self._live
        while True:
            probe.enter(Activity.WAIT_OUT)
            room = await outbox.wait_room()  # kept free by being the only sender
            probe.enter(Activity.BUSY)
            self._item = live.emitted
            items = deque(await self._call(source.read, room))
            if not items:
                return
            if len(items) > room:
                raise self._broken(f"asked for {room} items, it gave {len(items)}")
            probe.count(len(items))
            live.emit(len(items))
            outbox.place(items)

    def _end(self) -> None:
        self._outbox.end()


class StageWorker(Worker):
    """What driving a middle stage and driving the sink have in common."""

    def __init__(
        self, stage: Stage[Any, Any], inbox: Channel[Any], probe: StageProbe, fail: Fail
    ) -> None:
        super().__init__(stage, probe, fail)
        self._stage = stage
        self._inbox = inbox

    async def _work(self) -> None:
        stage, inbox, probe = self._stage, self._inbox, self.probe
        while True:
            probe.enter(Activity.WAIT_IN)
            if not await inbox.wait_items():
                break
            probe.enter(Activity.BUSY)
            self._item = probe.items
            batch = inbox.take(max(1, min(stage.cap(), stage.max_cap)))
            taken = len(batch)
            probe.count(taken)
            outputs = deque(await self._call(stage.process, batch))
            del batch  # bound while waiting for room, it would be a hidden slot
            await self._deliver(taken, outputs)
        probe.enter(Activity.BUSY)
        self._item = None
        await self._deliver(0, deque(await self._call(stage.flush)))

    async def _deliver(self, taken: int, outputs: deque[Any]) -> None:
        """Pass on what came of `taken` items, or, if that is 0, of the flush."""
        raise NotImplementedError


class RelayWorker(StageWorker):
    """Drives a stage between two channels."""

    def __init__(
        self,
        stage: Stage[Any, Any],
        inbox: Channel[Any],
        outbox: Channel[Any],
        probe: StageProbe,
        fail: Fail,
    ) -> None:
        super().__init__(stage, inbox, probe, fail)
        self._outbox = outbox
        self._given = 0

    async def _deliver(self, taken: int, outputs: deque[Any]) -> None:
        self._given += len(outputs)
        kept = self.probe.items - self._given
        if kept < 0:
            raise self._broken(f"it gave back {-kept} more items than it took")
        if not taken and kept:
            raise self._broken(f"it took {self.probe.items} items and gave back {self._given}")
        if kept > self._stage.held:
            raise self._broken(f"it holds {kept} items, its `held` says {self._stage.held}")
        self.probe.enter(Activity.WAIT_OUT)
        while outputs:
            await self._outbox.wait_room()
            self._outbox.place(outputs)

    def _end(self) -> None:
        self._outbox.end()


class SinkWorker(StageWorker):
    """Drives the last stage; what its `process` has taken is consumed when that returns."""

    def __init__(
        self,
        stage: Stage[Any, Any],
        inbox: Channel[Any],
        live: LiveCount,
        on_consumed: Callable[[int], None] | None,
        probe: StageProbe,
        fail: Fail,
    ) -> None:
        super().__init__(stage, inbox, probe, fail)
        self._live = live
        self._on_consumed = on_consumed

    async def _deliver(self, taken: int, outputs: deque[Any]) -> None:
        if outputs:
            raise self._broken(f"as the sink it gives nothing back, not {len(outputs)} items")
        self._live.consumed += taken
        if taken and self._on_consumed is not None:
            self._on_consumed(self._live.consumed)


def named(error: BaseException, stage: str, item: int | None) -> PipelineError:
    """Return `error` as one that names the stage; one written for people stays what it is."""
    if isinstance(error, PipelineError):
        error.stage = error.stage or stage
        return error
    where = "" if item is None else f" at item {item}"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    wrapped = StageError(f"stage {stage} failed{where}: {what}", stage=stage, item=item)
    wrapped.__cause__ = error
    return wrapped
