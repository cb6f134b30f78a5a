"""Small things that tasks wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress


class Bell:
    """Wakes everyone who waits at this moment."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Until it rings, or for `timeout_s` seconds."""
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
