"""Whose piece is next where several clips share a few hands: the fair queue of `scheduling`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sorawm_pipeline.scheduling.fair import FairQueue


@dataclass(frozen=True, slots=True)
class Ticket:
    """A clip's: smaller numbers came earlier.

    Attributes:
        number: of the clip.
        pieces: that it is cut into, by which its class is told.
    """

    number: int
    pieces: int


@dataclass(eq=False, slots=True)
class _Waiter:
    ticket: int
    cost: float
    turn: asyncio.Future[None]

    def __lt__(self, other: _Waiter) -> bool:
        return self.ticket < other.ticket


class Turns:
    """Lets `slots` pieces be done at once. Belongs to one event loop."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._tickets = 0

    def ticket(self, pieces: int) -> Ticket:
        """One for a clip that begins now."""
        self._tickets += 1
        return Ticket(self._tickets, pieces)

    @asynccontextmanager
    async def turn(self, ticket: Ticket, cost: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it until left.

        Args:
            ticket: of the clip.
            cost: what the turn takes, in any unit that all clips share.
        """
        waiter = _Waiter(ticket.number, cost, asyncio.get_running_loop().create_future())
        self._queue.flow(ticket.pieces, 1.0).push(waiter)
        self._give()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self._take_back()
            raise
        try:
            yield
        finally:
            self._take_back()

    def _take_back(self) -> None:
        self._free += 1
        self._give()

    def _give(self) -> None:
        while self._free and (flow := self._queue.first()) is not None:
            waiter = flow.pop()
            if not waiter.turn.done():  # its clip may have been cancelled
                self._queue.charge(flow, waiter.cost)
                self._free -= 1
                waiter.turn.set_result(None)
