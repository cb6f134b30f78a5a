"""What the daemon's parts have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sorawm_pipeline.service.books import Books
from sorawm_pipeline.service.events import EventHub
from sorawm_pipeline.service.loans import Loans
from sorawm_pipeline.service.room import Room
from sorawm_pipeline.service.signals import Bell, Gate


@dataclass(frozen=True, slots=True)
class Shared:
    """One of each for the whole daemon.

    Attributes:
        books: the ledger.
        gate: closed while the queue stands still.
        room: closes it while a disk is full.
        bell: rings when a job may wait, and when the daemon is to stop.
        hub: told of everything that happens.
        loans: long clips whose workers could do with hands.
        clock: seconds since the epoch.
    """

    books: Books
    gate: Gate
    room: Room
    bell: Bell
    hub: EventHub
    loans: Loans
    clock: Callable[[], float]
