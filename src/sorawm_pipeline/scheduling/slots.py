"""Those that do pieces: what is known of each, and which are not to be trusted now."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

A = TypeVar("A")

MEMORY = 0.3
"""Share of the newest piece in what is known of a slot's pace."""


class Slot(Generic[A]):
    """One GPU or share of a processor.

    Attributes:
        work: what it does now.
        pace: its seconds for each of a typical slot, as learned.
        failures: since its last success.
    """

    __slots__ = ("failures", "name", "pace", "rests", "work")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.work: A | None = None
        self.pace = 1.0
        self.failures = 0
        self.rests = 0

    def learn(self, ratio: float) -> None:
        self.pace += MEMORY * (ratio - self.pace)


class Slots(Generic[A]):
    """All of them; one that only fails is set aside, each time for twice as long.

    No more than half are: if most fail, it is not their fault.

    Args:
        failures: in a row after which a slot is set aside.
        rest_s: for how long, the first time.
    """

    def __init__(self, failures: int, rest_s: float) -> None:
        self._most = failures
        self._rest_s = rest_s
        self._slots: dict[Hashable, Slot[A]] = {}
        self.aside: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def usable(self) -> int:
        return len(self._slots) - len(self.aside)

    def get(self, name: Hashable, now: float) -> Slot[A]:
        """The slot, which is back if it has been aside for long enough."""
        slot = self._slots.get(name)
        if slot is None:
            slot = self._slots[name] = Slot(name)
        if now >= self.aside.get(name, now + 1):
            del self.aside[name]
        return slot

    def forget(self, name: Hashable) -> Slot[A] | None:
        """It is gone; where too few are left beside those that are set aside, these are back."""
        self.aside.pop(name, None)
        gone = self._slots.pop(name, None)
        while 2 * len(self.aside) > len(self._slots):
            del self.aside[min(self.aside, key=self.aside.__getitem__)]
        return gone

    def succeeded(self, slot: Slot[A]) -> None:
        slot.failures = slot.rests = 0

    def failed(self, slot: Slot[A], now: float) -> None:
        slot.failures += 1
        if slot.failures >= self._most and 2 * (len(self.aside) + 1) <= len(self._slots):
            self.aside[slot.name] = now + self._rest_s * 2.0**slot.rests
            slot.rests = min(slot.rests + 1, 10)

    def wake(self) -> float | None:
        """When one comes back, at the earliest. O(slots aside)."""
        return min(self.aside.values(), default=None)
