"""A thread for what may block: files on disks that are slow, far away, or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sorawm_pipeline.engine import OwnerThread

T = TypeVar("T")


class Desk:
    """One thread; whoever calls while it is busy waits for his turn."""

    def __init__(self, name: str) -> None:
        self._thread = OwnerThread(name)
        self._turn = asyncio.Lock()

    async def call(self, fn: Callable[[], T]) -> T:
        """What `fn` returns or raises. Cancelled, it waits for `fn` all the same."""
        async with self._turn:
            return await self._thread.call(fn)

    async def close(self) -> None:
        async with self._turn:
            await self._thread.stop()
