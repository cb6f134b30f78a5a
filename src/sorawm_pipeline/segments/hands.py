"""Those who do orders: processes of this machine, each with a share of its cores or a GPU."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.scheduling import STEPS, Limits
from sorawm_pipeline.segments.dispatch import Dispatch, Hand, HandLostError, serving
from sorawm_pipeline.segments.orders import Answer, Order, Place
from sorawm_pipeline.segments.pieces import Task
from sorawm_pipeline.warm import resolve_device

MODULE = "-m", "sorawm_pipeline.segments.hand_main"
TRIES = 3
"""Processes that one piece may cost, or times that it may fail for a device's fault."""

LINE_MAX = 1 << 20
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hands:
    """Who does the pieces of any number of clips.

    Attributes:
        dispatch: gives them the pieces.
        slots: how many they are.
        every_clip: whether short clips are for them too.
        store: the URL below which they find clips and pieces; None: they reach the same files.
    """

    dispatch: Dispatch
    slots: int
    every_clip: bool = False
    store: str | None = None


@asynccontextmanager
async def processes(config: PipelineConfig, slots: int | None = None) -> AsyncIterator[Hands]:
    """Hands that are processes of this machine; one that dies is replaced.

    Args:
        config: of the pipeline.
        slots: how many; None: as `pieces.workers` says. They are on all GPUs in turn where any may
            be used.
    """
    slots = slots or config.pieces.workers
    devices = [config.device] * slots
    if config.device in ("auto", "cuda") and resolve_device(config.device).startswith("cuda"):
        import torch  # takes seconds

        devices = [f"cuda:{slot % torch.cuda.device_count()}" for slot in range(slots)]
    shares = shared_out(sorted(os.sched_getaffinity(0)), slots)
    hands = [
        _Process(config.model_copy(update={"device": device}), cpus)
        for cpus, device in zip(shares, devices, strict=True)
    ]
    # They share the machine: one that is late is so for the others' sake, and would be again.
    dispatch = Dispatch(Limits(tries=TRIES, losses=TRIES, late=inf))
    try:
        async with serving(_kept(dispatch, hand) for hand in hands):
            yield Hands(dispatch, slots)
    finally:
        for hand in hands:
            await hand.stop()


async def _kept(dispatch: Dispatch, hand: Hand) -> None:
    """Let a hand serve that begins anew when it is lost."""
    while True:
        try:
            await dispatch.serve(hand)
        except HandLostError as error:
            log.warning("a worker died", reason=str(error))


def shared_out(cpus: list[int], slots: int) -> list[list[int]]:
    """Each slot's cores: all of them are used, none by more slots than need be."""
    if slots >= len(cpus):
        return [[cpus[slot % len(cpus)]] for slot in range(slots)]
    return [cpus[slot::slots] for slot in range(slots)]


class _Process:
    """One process, started when it is needed."""

    steps, alive = STEPS, True

    def __init__(self, config: PipelineConfig, cpus: list[int]) -> None:
        settings = {"config": config.model_dump(mode="json"), "cpus": cpus}
        self._settings = json.dumps(settings).encode() + b"\n"
        self._process: asyncio.subprocess.Process | None = None

    async def do(self, place: Place, task: Task, tell: Callable[[int], None]) -> None:
        try:
            answer = await self._asked(Order.of(place, task), tell)
        except (OSError, EOFError, ValueError) as error:
            await self.stop()
            raise HandLostError(str(error)) from error
        except BaseException:
            await self.stop()
            raise
        answer.raised()

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
