"""A worker: the process that opens files, so that the daemon does not have to.

    python -m sorawm_pipeline.service.worker_main

It is told what to do on stdin and answers on what was stdout (`wire`); logs go to stderr. It ends
when stdin does. Models stay loaded from one clip to the next.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict

from sorawm_pipeline.cluster import connected
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.hardware.memory import map_large, read_memory
from sorawm_pipeline.job import credentials
from sorawm_pipeline.logs import configure, get_logger
from sorawm_pipeline.media import provenance
from sorawm_pipeline.native_log import native_output_logged
from sorawm_pipeline.pipeline import RESTED, Pipeline
from sorawm_pipeline.readings import Reading
from sorawm_pipeline.segments.dispatch import HandLostError
from sorawm_pipeline.segments.hands import Hands
from sorawm_pipeline.segments.orders import Order
from sorawm_pipeline.service import confine, identity, wire
from sorawm_pipeline.service.inspection import inspect
from sorawm_pipeline.service.lending import LentHand
from sorawm_pipeline.state import state_folder

PROGRESS_S = 1.0
log = get_logger(__name__)


class Line:
    """The way back to the daemon. What libraries print to stdout goes to stderr instead."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)

    def say(self, message: wire.Message) -> None:
        line = memoryview(message.line())
        while line:
            line = line[os.write(self._descriptor, line) :]


class Worker:
    """Does one thing at a time.

    Args:
        settings: the daemon's first message.
        line: where answers go.
        hands: who does pieces of clips on a cluster, if there is one.
    """

    def __init__(self, settings: wire.Configure, line: Line, hands: Hands | None = None) -> None:
        self.config = PipelineConfig.model_validate(settings.config)
        self._settings = settings
        self._line = line
        self._pipeline = Pipeline(self.config, hands)
        self._lent: dict[int, LentHand] = {}
        self._lending: dict[int, asyncio.Task[None]] = {}

    async def serve(self, requests: asyncio.StreamReader) -> None:
        """Until the daemon closes the line; what runs then is cancelled."""
        async with self._pipeline, asyncio.TaskGroup() as group:
            work: asyncio.Task[None] | None = None
            while line := await requests.readline():
                match wire.REQUESTS.validate_json(line):
                    case wire.Clean() as order:
                        work = group.create_task(self._clean(order))
                        work.add_done_callback(self._say_if_cancelled)
                    case wire.Inspect() as order:
                        self._line.say(self._inspect(order))
                    case wire.Rest():
                        self._pipeline.rest()
                    case wire.Piece() as order:
                        work = group.create_task(self._piece(order))
                        work.add_done_callback(self._say_if_piece_cancelled)
                    case wire.Lend(hand=number):
                        hand = self._lent[number] = LentHand(number, self._line.say)
                        self._lending[number] = group.create_task(self._lend(hand))
                    case wire.Recall(hand=number) if number in self._lent:
                        self._recall(number)
                    case wire.Given(hand=number, answer=answer) if number in self._lent:
                        self._lent[number].given(answer)
                    case wire.Cancel():
                        if work is not None:
                            work.cancel()
            if work is not None:
                work.cancel()

    def _say_if_cancelled(self, work: asyncio.Task[None]) -> None:
        """Here and not in the task, which may be cancelled before its first step."""
        if work.cancelled():
            self._line.say(wire.Cleaned(outcome="cancelled"))

    def _say_if_piece_cancelled(self, work: asyncio.Task[None]) -> None:
        if work.cancelled():
            self._line.say(wire.PieceDone(answer=None))

    async def _piece(self, order: wire.Piece) -> None:
        """A piece of another worker's clip."""
        confine.limit_file_size(order.max_bytes)
        what = Order(source=order.source, store=order.store, plan=order.plan, task=order.task)
        answer = await self._pipeline.do_piece(what, self._told("helping"))
        self._line.say(wire.PieceDone(answer=answer.model_dump_json()))

    async def _lend(self, hand: LentHand) -> None:
        """Have another worker help with the clip in hand, for as long as both want it."""
        try:
            await self._pipeline.helped_by(hand)
        except HandLostError as error:
            log.warning("a helping worker was lost", reason=str(error))
        finally:
            if self._lent[hand.number] is hand:  # or it was lent again
                del self._lent[hand.number], self._lending[hand.number]
            self._line.say(wire.Back(hand=hand.number))

    def _recall(self, number: int) -> None:
        """Let a helping worker go when it has done its piece."""
        self._lent[number].alive = False
        if not self._lent[number].at_work:
            self._lending[number].cancel()

    async def _clean(self, order: wire.Clean) -> None:
        try:
            await self._clean_and_say(order)
        finally:
            # A picture whose side data were read is in a cycle with them: it would stay for long.
            gc.collect()

    async def _clean_and_say(self, order: wire.Clean) -> None:
        confine.limit_file_size(order.max_bytes)
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell())
            report = await self._pipeline.attempt(order.source, order.output, overwrite=True)
            telling.cancel()
        if report.error is not None and report.error.kind == RESTED:
            self._line.say(wire.Cleaned(outcome="cancelled"))
            return
        if report.error is not None:
            told = wire.FailureTold(**report.error.model_dump())
            self._line.say(wire.Cleaned(outcome="failed", failure=told))
            return
        result = identity.result(order.output, self._told("reading"))
        if result is None:
            told = wire.FailureTold(kind="output", message=f"{order.output.name} has disappeared")
            self._line.say(wire.Cleaned(outcome="failed", failure=told))
            return
        self._line.say(
            wire.Cleaned(
                outcome="done",
                report=report.model_dump_json(),
                size=result.fingerprint.size,
                mtime_ns=result.fingerprint.mtime_ns,
                digest=result.digest,
            )
        )

    async def _tell(self) -> None:
        """Say how it goes every second, and let the kernel's clock run on while it does."""
        moved: object = None
        while True:
            for reading in self._pipeline.readings()[:1]:
                progress = _progress(reading)
                if progress.moved != moved:
                    moved = progress.moved
                    confine.limit_cpu(self._settings.cpu_s)
                self._line.say(progress)
            await asyncio.sleep(PROGRESS_S)

    def _inspect(self, order: wire.Inspect) -> wire.Inspected:
        confine.limit_cpu(self._settings.cpu_s)
        return inspect(order, self.config, self._told("inspecting"))

    def _told(self, phase: str) -> Callable[[int], None]:
        """Says once a second how many bytes have been read, so that nobody takes it for stuck."""
        told = time.monotonic()

        def tell(done: int) -> None:
            nonlocal told
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                confine.limit_cpu(self._settings.cpu_s)
                self._line.say(_progress(Reading(phase, frames=done)))

        return tell


def _progress(reading: Reading) -> wire.WorkProgress:
    memory, corridor, gpu = read_memory(), reading.corridor, reading.gpu
    return wire.WorkProgress(
        phase=reading.phase,
        frames=reading.frames,
        frames_expected=reading.frames_expected,
        fps=reading.fps,
        stages={
            name: wire.StageProgress(**asdict(stage))
            for name, stage in (corridor.stages.items() if corridor else ())
        },
        queues={
            name: wire.QueueProgress(**asdict(queue))
            for name, queue in (corridor.queues.items() if corridor else ())
        },
        batch_caps=dict(reading.batch_caps),
        live_frames=corridor.live.now if corridor else 0,
        live_bound=corridor.live.bound if corridor else 0,
        rss=memory.process,
        peak_rss=memory.peak,
        gpu=None
        if gpu is None
        else wire.GpuProgress(
            free=gpu.free,
            total=gpu.total,
            utilisation=gpu.utilisation,
            temperature=gpu.temperature,
            throttled=gpu.throttled,
        ),
        in_pieces=reading.in_pieces,
    )


def _wrong(config: PipelineConfig) -> str | None:
    """What would make every clip fail."""
    try:
        provenance.identity(credentials(config), state_folder())
    except PipelineError as error:
        return error.message
    return None


async def _serve(settings: wire.Configure, line: Line, held: tuple[str, ...]) -> None:
    requests = asyncio.StreamReader(limit=wire.LINE_MAX)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(requests), sys.stdin
    )
    config = PipelineConfig.model_validate(settings.config)
    wrong, hands = _wrong(config), None
    async with AsyncExitStack() as stack:
        if config.cluster.address is not None and wrong is None:
            try:
                hands = await stack.enter_async_context(connected(config, settings.sharers))
            except PipelineError as error:
                wrong = error.message
        worker = Worker(settings, line, hands)
        line.say(wire.Ready(confined=held, wrong=wrong))
        await worker.serve(requests)


def _first_line() -> bytes:
    """A line of stdin, and not a byte more: the rest is for the event loop."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def main() -> None:
    map_large()
    line = Line()
    settings = wire.REQUESTS.validate_json(_first_line())
    assert isinstance(settings, wire.Configure)
    config = PipelineConfig.model_validate(settings.config)
    configure(config.log.level, config.log.format)
    internet = config.cluster.address is not None
    held = confine.confine(settings.address_space, internet=internet)
    with native_output_logged():
        asyncio.run(_serve(settings, line, held))


if __name__ == "__main__":
    main()
