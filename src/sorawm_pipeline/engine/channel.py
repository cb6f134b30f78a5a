"""A bounded channel between one sending and one receiving task of the same event loop.

Waiting and moving are separate: the two awaits wait for a state and touch no item, items move in
synchronous calls. So a cancelled wait cannot lose or double an item, whenever it is cancelled.
End of stream is a state as well, not an item: setting it cannot block, fail or be cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """At most `capacity` items in order.

    Attributes:
        capacity: most items it ever holds.
        peak: most items it has held. A peak that stays near 0 means a starved receiver, one at
            capacity a receiver that was, at least once, the slower side.
    """

    __slots__ = ("_ended", "_items", "_receiver", "_sender", "capacity", "peak")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a channel needs room for at least one item, not {capacity}")
        self.capacity = capacity
        self.peak = 0
        self._items: deque[T] = deque()
        self._ended = False
        self._receiver: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def room(self) -> int:
        """How many items fit now."""
        return self.capacity - len(self._items)

    async def wait_items(self) -> bool:
        """Wait until items can be taken (True) or the stream has ended and is empty (False).

        Cancellation: takes nothing, changes nothing; may be called again.
        """
        while not self._items and not self._ended:
            self._receiver = _new_waiter(self._receiver, "receiving")
            try:
                await self._receiver
            finally:
                self._receiver = None
        return bool(self._items)

    async def wait_room(self) -> int:
        """Wait until at least one item fits; return how many do.

        The room stays, for only the one sender fills it. Cancellation: reserves nothing, changes
        nothing; may be called again.
        """
        while not self.room:
            self._sender = _new_waiter(self._sender, "sending")
            try:
                await self._sender
            finally:
                self._sender = None
        return self.room

    def take(self, limit: int) -> list[T]:
        """Remove and return everything queued, up to `limit`; wakes a waiting sender."""
        items = self._items
        if limit >= len(items):
            batch = list(items)
            items.clear()
        else:
            batch = [items.popleft() for _ in range(limit)]
        if batch:
            _wake(self._sender)
        return batch

    def place(self, items: deque[T]) -> None:
        """Move items from the left of `items` until it is empty or the channel full.

        Moved, not copied: what has been placed is no longer referenced by the sender. Wakes a
        waiting receiver.

        Raises:
            RuntimeError: the stream has already ended.
        """
        if self._ended:
            raise RuntimeError("the stream has ended; nothing can be placed any more")
        for _ in range(min(self.room, len(items))):
            self._items.append(items.popleft())
        if self._items:
            self.peak = max(self.peak, len(self._items))
            _wake(self._receiver)

    def end(self) -> None:
        """Say that nothing will follow. What is queued can still be taken. Idempotent."""
        self._ended = True
        _wake(self._receiver)

    def discard(self) -> None:
        """Forget what is queued, after a failed run."""
        self._items.clear()


def _new_waiter(present: asyncio.Future[None] | None, side: str) -> asyncio.Future[None]:
    if present is not None:
        raise RuntimeError(f"a second task waits on the {side} side of a channel; it has only one")
    return asyncio.get_running_loop().create_future()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
