"""Small things that tasks wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress


class Bell:
    """Wakes everyone who waits.

    Whoever looks whether there is something to do, and awaits anything in between, takes `rings`
    before he looks, lest he sleeps through a ring that came meanwhile.
    """

    def __init__(self) -> None:
        self.rings = 0
        self._event = asyncio.Event()

    def ring(self) -> None:
        self.rings += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, timeout_s: float | None = None, *, after: int | None = None) -> None:
        """Until it rings, or for `timeout_s` seconds; not at all if it has rung `after` that."""
        if after is not None and after != self.rings:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(None if timeout_s is None else max(0.0, timeout_s)):
                await self._event.wait()


class Gate:
    """Why the queue stands still: reasons by topic, in words; open when there are none.

    Args:
        changed: told of the first reason, or None, whenever that changes.
    """

    def __init__(self, changed: Callable[[str | None], object]) -> None:
        self.reasons: dict[str, str] = {}
        self._changed = changed
        self._bell = Bell()

    @property
    def reason(self) -> str | None:
        return next(iter(self.reasons.values()), None)

    def close(self, topic: str, reason: str) -> None:
        before = self.reason
        self.reasons[topic] = reason
        self._tell(before)

    def open(self, topic: str) -> None:
        before = self.reason
        self.reasons.pop(topic, None)
        self._tell(before)

    async def passed(self) -> None:
        """Wait until it is open."""
        while self.reasons:
            await self._bell.wait()

    def _tell(self, before: str | None) -> None:
        if self.reason != before:
            self._changed(self.reason)
        self._bell.ring()
