"""The worker that looks at files before they become jobs, started when there is one to look at."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sorawm_pipeline.config import ClusterConfig, PipelineConfig
from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.service import wire
from sorawm_pipeline.service.worker import PROGRAM, Bounds, WorkerProcess


class Inspector:
    """One process at most; callers take turns.

    Args:
        config: of the daemon. Looking needs no GPU and loads no model.
        bounds: of the process.
        program: what to start.
    """

    def __init__(
        self, config: PipelineConfig, bounds: Bounds, program: tuple[str, ...] = PROGRAM
    ) -> None:
        self.config = config
        self.bounds = bounds
        self._program = program
        self._worker: WorkerProcess | None = None
        self._turn = asyncio.Lock()

    async def inspect(self, path: Path, *, last: bool) -> wire.Inspected:
        """Have a file looked at; `last`: it will not be looked at again, whatever it is.

        Raises:
            DeviceError: the process did not survive the file, or none could be started (kind
                `device`).
        """
        async with self._turn:
            worker = await self._ready()
            try:
                return await worker.inspect(path, last=last)
            except BaseException:
                if not worker.alive:
                    self._worker = None
                raise

    async def start(self) -> None:
        """Have the process up before it is needed.

        Raises:
            ConfigError: with this configuration no clip can be cleaned.
            DeviceError: as `inspect`.
        """
        async with self._turn:
            await self._ready()

    async def rest(self) -> None:
        """End the process until there is something to look at."""
        async with self._turn:
            worker, self._worker = self._worker, None
            if worker is not None:
                await worker.stop()

    async def _ready(self) -> WorkerProcess:
        worker = self._worker
        if worker is not None and worker.jobs >= self.config.service.recycle_after:
            self._worker = None
            await worker.stop()
        if self._worker is None:
            alone = {"device": "cpu", "cluster": ClusterConfig()}
            config = self.config.model_copy(update=alone)
            try:
                self._worker = await WorkerProcess.start(config, self.bounds, program=self._program)
            except OSError as error:
                raise DeviceError(f"no process can be started: {error}", kind="device") from error
        return self._worker
