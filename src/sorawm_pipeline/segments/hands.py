"""Those who do orders: processes of this machine, each with a share of its cores or a GPU."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.segments.orders import Answer, Order
from sorawm_pipeline.segments.turns import Turns
from sorawm_pipeline.warm import resolve_device

MODULE = "-m", "sorawm_pipeline.segments.hand_main"
TRIES = 3
"""Processes that one order may cost."""

LINE_MAX = 1 << 20
log = get_logger(__name__)


class Hands(Protocol):
    """Do orders for any number of clips.

    Attributes:
        slots: how many orders they do at once.
        every_clip: whether short clips are for them too.
        turns: for whose turn it is; an order is given in a turn.
    """

    slots: int
    every_clip: bool
    turns: Turns

    async def do(self, order: Order, tell: Callable[[int], None]) -> Answer:
        """Have an order done, by who has a turn. When cancelled, nobody is at work on it.

        Args:
            order: what to do.
            tell: called with the frames of it that are done so far.

        Raises:
            PipelineError: nobody can do it.
        """
        ...

    async def close(self) -> None: ...


class Processes:
    """Hands that are processes of this machine. One that dies is replaced, and its order repeated.

    Args:
        config: of the pipeline.
        slots: how many there are.
        devices: of each; None: as configured.
    """

    every_clip = False

    def __init__(
        self, config: PipelineConfig, slots: int, devices: list[str] | None = None
    ) -> None:
        self.slots = slots
        shares = shared_out(sorted(os.sched_getaffinity(0)), slots)
        self._idle = [
            _Process(
                config if devices is None else config.model_copy(update={"device": device}), cpus
            )
            for cpus, device in zip(shares, devices or [""] * slots, strict=True)
        ]
        self.turns = Turns(slots)

    async def do(self, order: Order, tell: Callable[[int], None]) -> Answer:
        hand = self._idle.pop()
        try:
            return await hand.do(order, tell)
        finally:
            self._idle.append(hand)

    async def close(self) -> None:
        for hand in self._idle:
            await hand.stop()


def processes(config: PipelineConfig) -> Processes:
    """As many as `pieces.workers` says, on all GPUs in turn where any may be used."""
    slots, devices = config.pieces.workers, None
    if config.device in ("auto", "cuda") and resolve_device(config.device).startswith("cuda"):
        import torch  # takes seconds

        count = torch.cuda.device_count()
        devices = [f"cuda:{slot % count}" for slot in range(slots)]
    return Processes(config, slots, devices)


def shared_out(cpus: list[int], slots: int) -> list[list[int]]:
    """Each slot's cores: all of them are used, none by more slots than need be."""
    if slots >= len(cpus):
        return [[cpus[slot % len(cpus)]] for slot in range(slots)]
    return [cpus[slot::slots] for slot in range(slots)]


class _Process:
    """One process, started when it is needed."""

    def __init__(self, config: PipelineConfig, cpus: list[int]) -> None:
        settings = {"config": config.model_dump(mode="json"), "cpus": cpus}
        self._settings = json.dumps(settings).encode() + b"\n"
        self._process: asyncio.subprocess.Process | None = None

    async def do(self, order: Order, tell: Callable[[int], None]) -> Answer:
        for attempt in range(TRIES):
            try:
                return await self._asked(order, tell)
            except (OSError, EOFError, ValueError) as error:
                log.warning("a worker died", attempt=attempt + 1, reason=str(error))
                await self.stop()
            except BaseException:
                await self.stop()
                raise
        raise PipelineError(f"{TRIES} workers died over one piece of the clip")

    async def stop(self) -> None:
        """Kill it, if it runs, and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            # The transport of a killed process is closed when its pipes are read to their end.
            assert process.stdin is not None
            process.stdin.close()

    async def _asked(self, order: Order, tell: Callable[[int], None]) -> Answer:
        process = self._process or await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order.model_dump_json().encode() + b"\n")
        await process.stdin.drain()
        while line := await process.stdout.readline():
            said = json.loads(line)
            if not isinstance(said, int):
                return Answer.model_validate(said)
            tell(said)
        code = await process.wait()
        raise EOFError(f"exit status {code}")

    async def _started(self) -> asyncio.subprocess.Process:
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_MAX,
            start_new_session=True,  # signals of a terminal are for this process alone
        )
        assert process.stdin is not None
        process.stdin.write(self._settings)
        return process
