"""Whose turn it is: start-time fair queueing between classes of clips of like length.

Goyal, Vin and Cheng, "Start-time Fair Queueing", SIGCOMM 1996; between CPU classes: Goyal, Guo and
Vin, OSDI 1996. A class is all clips of one weight whose numbers of pieces have the same binary
order of magnitude; within it clips are served as they came, and the next is begun only when
nothing of those before can be. So as many clips are under way as slots need, whatever the length of
the queue.

For any two classes that have work for a while, what they were given in it (cost over weight)
differs by no more than one piece of each. A class that had none has its turn before any that was
served since, so a clip that is the first of its class is begun after at most one piece of each
other one, and the short ones first among equals.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, NamedTuple, Protocol, TypeVar


class Waiting(NamedTuple):
    """A clip of which nothing was begun."""

    ticket: int
    pieces: int
    cost: float
    find_cost: float


class Begun(Protocol):
    """A clip under way."""

    @property
    def ticket(self) -> int: ...


B = TypeVar("B", bound=Begun)


class Queue:
    """First in, first out; 28 bytes for each that waits. Those that were cancelled stay in it."""

    def __init__(self) -> None:
        self._columns = (array("q"), array("I"), array("d"), array("d"))
        self._first = 0

    def __bool__(self) -> bool:
        return self._first < len(self._columns[0])

    def push(self, waiting: Waiting) -> None:
        tickets, pieces, costs, finds = self._columns
        tickets.append(waiting.ticket)
        pieces.append(waiting.pieces)
        costs.append(waiting.cost)
        finds.append(waiting.find_cost)

    def find(self, ticket: int) -> Waiting:
        """One that is in it, where it stands; tickets rise."""
        return self._at(bisect_left(self._columns[0], ticket, self._first))

    def _at(self, at: int) -> Waiting:
        tickets, pieces, costs, finds = self._columns
        return Waiting(tickets[at], pieces[at], costs[at], finds[at])

    def pop(self) -> Waiting:
        popped = self._at(self._first)
        self._first += 1
        if self._first * 2 > len(self._columns[0]):  # at least as many have left as are moved
            for column in self._columns:
                del column[: self._first]
            self._first = 0
        return popped


class Flow(Generic[B]):
    """A class of clips.

    Attributes:
        size: binary order of magnitude of their numbers of pieces.
        weight: its share, beside other classes'.
        start: virtual time at which its next piece starts, while it has work.
        waiting: in the order of coming.
    """

    def __init__(self, size: int, weight: float) -> None:
        self.size = size
        self.weight = weight
        self.start = 0.0
        self.active = False
        self.waiting = Queue()
        self._ready: list[tuple[int, B]] = []

    def __bool__(self) -> bool:
        return bool(self._ready or self.waiting)

    def push(self, clip: B) -> None:
        heappush(self._ready, (clip.ticket, clip))

    def head(self) -> B | None:
        """The first clip under way that may have something to begin."""
        return self._ready[0][1] if self._ready else None

    def pop(self) -> B:
        return heappop(self._ready)[1]


class FairQueue(Generic[B]):
    """The classes, and the virtual time that all of them share."""

    def __init__(self) -> None:
        self._flows: dict[tuple[int, float], Flow[B]] = {}
        self._now = 0.0
        self._end = 0.0

    def __iter__(self) -> Iterator[Flow[B]]:
        return iter(self._flows.values())

    def flow(self, pieces: int, weight: float) -> Flow[B]:
        """The class of a clip."""
        key = ((pieces - 1).bit_length(), weight)
        if key not in self._flows:
            self._flows[key] = Flow(*key)
        return self._flows[key]

    def first(self) -> Flow[B] | None:
        """The class whose turn it is, of those that may have work."""
        best = None
        for flow in self._flows.values():
            if not flow:
                flow.active = False
                continue
            if not flow.active:
                flow.active = True
                flow.start = max(flow.start, self._now)
            if best is None or (flow.start, flow.size) < (best.start, best.size):
                best = flow
        if best is None:
            self._now = self._end
        return best

    def charge(self, flow: Flow[B], cost: float) -> None:
        """It was given something."""
        self._now = max(self._now, flow.start)
        flow.start = max(flow.start, self._now) + cost / flow.weight
        self._end = max(self._end, flow.start)
