"""The daemon's end of one worker process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import psutil
from pydantic import ValidationError

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import outlast
from sorawm_pipeline.errors import ConfigError, DeviceError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service import wire

TICK_S = 1.0
START_S, STOP_S = 120.0, 10.0
ADDRESS_SPACE_MARGIN = 16 << 30
"""Libraries reserve far more addresses than they use memory."""

PROGRAM = (sys.executable, "-m", "sorawm_pipeline.service.worker_main")
A = TypeVar("A", wire.Cleaned, wire.Inspected, wire.PieceDone)
M = TypeVar("M", bound=wire.Message)
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker may take.

    Attributes:
        memory: bytes of its resident set.
        deadline_s: seconds without any progress.
        sharers: workers that share the cluster, if there is one.
    """

    memory: int
    deadline_s: float
    sharers: int = 1


class WorkerProcess:
    """One process; does one thing at a time. Start it with `start`, end it with `stop`.

    Every method that raises DeviceError has ended the process before. Its kinds: `crashed`, `stuck`
    (no progress), `memory`.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, bounds: Bounds, clock: Callable[[], float]
    ) -> None:
        self._process = process
        self._bounds = bounds
        self._clock = clock
        self.pid = process.pid
        self.jobs = 0
        self._handle = _handle(process.pid)
        self._to_hand: Callable[[wire.ToHand], None] = lambda _: None

    @classmethod
    async def start(
        cls,
        config: PipelineConfig,
        bounds: Bounds,
        *,
        program: tuple[str, ...] = PROGRAM,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """A process that is ready.

        Args:
            config: of the pipeline.
            bounds: what it may take.
            program: what to start.
            clock: seconds that do not run backwards.

        Raises:
            ConfigError: with this configuration no clip can be cleaned.
            DeviceError: it does not come up.
            OSError: no process can be started.
        """
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the daemon, which tells its workers
            limit=wire.LINE_MAX,
        )
        worker = cls(process, replace(bounds, deadline_s=max(START_S, bounds.deadline_s)), clock)
        try:
            # CUDA, and Ray for its shared memory, reserve far more addresses than they use.
            bounded = config.device == "cpu" and config.cluster.address is None
            worker.say(
                wire.Configure(
                    config=config.model_dump(mode="json"),
                    address_space=bounds.memory + ADDRESS_SPACE_MARGIN if bounded else None,
                    cpu_s=bounds.deadline_s * (os.cpu_count() or 1),
                    sharers=bounds.sharers,
                )
            )
            ready = await worker._answer(wire.Ready, lambda _: None)
            if ready.wrong is not None:
                raise ConfigError(ready.wrong)
        except BaseException:
            await worker.kill()
            raise
        log.info("worker started", worker=worker.pid, confined=ready.confined)
        worker._bounds = bounds
        return worker

    async def clean(
        self,
        source: Path,
        output: Path,
        max_bytes: int,
        on_progress: Callable[[wire.WorkProgress], None],
        to_hand: Callable[[wire.ToHand], None] = lambda _: None,
    ) -> wire.Cleaned:
        """Have a clip cleaned into `output`; `to_hand` hears what is for those who help.

        Cancellation: the process is told to stop, and ended if it does not within STOP_S seconds;
        then CancelledError is raised.

        Raises:
            DeviceError: the process is lost.
        """
        self.jobs += 1
        self.say(wire.Clean(source=source, output=output, max_bytes=max_bytes))
        self._to_hand = to_hand
        return await self._answer_or_end(wire.Cleaned, on_progress)

    async def piece(self, order: wire.Piece) -> wire.PieceDone:
        """Have a piece of another worker's clip done; cancelled or lost as `clean`."""
        self.jobs += 1
        self.say(order)
        return await self._answer_or_end(wire.PieceDone, lambda _: None)

    async def inspect(self, source: Path, *, last: bool) -> wire.Inspected:
        """Have a file looked at; cancelled or lost as `clean`."""
        self.jobs += 1
        self.say(wire.Inspect(source=source, last=last))
        return await self._answer_or_end(wire.Inspected, lambda _: None)

    def rss(self) -> int:
        """Resident set in bytes; 0 if the process is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def stop(self) -> None:
        """Let it end by itself, within STOP_S seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it now, and wait until it has ended."""
        if self.alive:
            with suppress(ProcessLookupError):
                self._signal_kill()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        await outlast([asyncio.ensure_future(self._process.wait())])

    def _signal_kill(self) -> None:
        """Not by `Process.kill`: it may reap the process, and how it ended is lost.

        By its handle where there is one: its number may be another's, once a thread has reaped it.
        """
        if sys.platform == "linux" and self._handle is not None:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)

    def rest(self) -> None:
        """Have the clip in hand stop when the pieces at work are done; it is then `cancelled`."""
        self.say(wire.Rest())

    def say(self, message: wire.Message) -> None:
        """Tell it something that it does not answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(message.line())  # a dead one is noticed when it does not answer

    async def _answer_or_end(
        self, kind: type[A], on_progress: Callable[[wire.WorkProgress], None]
    ) -> A:
        try:
            return await self._answer(kind, on_progress)
        except asyncio.CancelledError:
            await self._cancel(kind)
            raise
        except BaseException:
            await self.kill()
            raise

    async def _cancel(self, kind: type[wire.Message]) -> None:
        self.say(wire.Cancel())
        try:
            async with asyncio.timeout(STOP_S):
                await self._answer(kind, lambda _: None)
        except (TimeoutError, DeviceError):
            await self.kill()
        except BaseException:
            await self.kill()
            raise

    async def _answer(self, kind: type[M], on_progress: Callable[[wire.WorkProgress], None]) -> M:
        """Wait for a message of a kind, looking after the process meanwhile."""
        moved: object = None
        since = self._clock()
        while True:
            line = await self._line()
            if line is not None:
                answer = self._understood(line)
                if isinstance(answer, kind):
                    return answer
                if isinstance(answer, wire.ToHand):
                    self._to_hand(answer)
                if isinstance(answer, wire.WorkProgress):
                    if answer.moved != moved:
                        moved, since = answer.moved, self._clock()
                    on_progress(answer)
            if self._clock() - since > self._bounds.deadline_s:
                raise DeviceError(
                    f"the worker made no progress for {self._bounds.deadline_s:.0f} s "
                    "(service.deadline_s)",
                    kind="stuck",
                )
            if (rss := self.rss()) > self._bounds.memory:
                raise DeviceError(
                    f"the worker took {rss >> 20} MiB of memory, more than the "
                    f"{self._bounds.memory >> 20} MiB of service.memory",
                    kind="memory",
                )

    async def _line(self) -> bytes | None:
        """The next line; None if there is none for a moment.

        Raises:
            DeviceError: there will be none, or it has no end.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(TICK_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            return None
        except ValueError as error:
            raise DeviceError("the worker said something endless", kind="crashed") from error
        if not line.endswith(b"\n"):
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._process.wait()
            await self.kill()
            raise DeviceError(f"the worker ended {self._end()}", kind="crashed")
        return line

    def _understood(self, line: bytes) -> wire.Answer:
        try:
            return wire.ANSWERS.validate_json(line)
        except ValidationError as error:
            raise DeviceError("the worker said something strange", kind="crashed") from error

    def _end(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            return f"by signal {-code}"
        return f"with status {code}"


def _handle(pid: int) -> int | None:
    """A descriptor that stands for a process even when it has ended; None where there is none."""
    if sys.platform == "linux":
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None
