"""A device with a memory and a speed, for the policy of batches: nothing here is a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sorawm_pipeline.hardware.batch_cap import PRESSURE, BatchCap, Signals

TOTAL = 1000


@dataclass
class SimulatedDevice:
    """Takes `launch + each * n` seconds for n items, and `item` memory for each, of TOTAL.

    Attributes:
        others: memory that models and other programs take, by the number of batches done.
        slow: whether it throttles itself, by the number of batches done.
        keeps: whether it keeps what its largest batch took until told to release it, as torch does.
        seconds: spent so far.
        sizes: of the batches that were done.
    """

    item: int
    launch: float
    each: float
    others: Callable[[int], int] = lambda _: 0
    slow: Callable[[int], bool] = lambda _: False
    keeps: bool = False
    seconds: float = 0.0
    sizes: list[int] = field(default_factory=list)
    free: float = 1.0
    kept: int = 0

    def run(self, items: Sequence[int]) -> list[int]:
        others, own = self.others(len(self.sizes)), self.item * len(items)
        if others + own > TOTAL:
            self.seconds += self.launch
            raise MemoryError
        self.kept = max(self.kept, own) if self.keeps else own
        self.free = max(0.0, 1 - (others + self.kept) / TOTAL)
        self.seconds += (self.launch + self.each * len(items)) * (
            2 if self.slow(len(self.sizes)) else 1
        )
        self.sizes.append(len(items))
        return [2 * item for item in items]

    def release(self) -> None:
        self.kept = 0

    def signals(self) -> Signals:
        done = len(self.sizes)
        return Signals(done, memory_free=self.free, throttled=self.slow(done))

    def seconds_each(self, size: int) -> float:
        """Of one item in batches of a fixed size."""
        return (self.launch + self.each * size) / size

    def best_fixed(self, most: int) -> int:
        """The largest size that neither runs out of memory nor into pressure."""
        room = TOTAL * (1 - PRESSURE) - self.others(0)
        return max(1, min(most, int((room - 1) // self.item)))


def work_off(device: SimulatedDevice, cap: BatchCap, items: int) -> list[int]:
    """What a stage with a full queue does with `items`; the results."""
    results: list[int] = []
    while len(results) < items:  # a stage takes what its cap lets it, then reads the cap again
        batch = range(len(results), min(items, len(results) + cap.cap()))
        results += cap.run(device.run, batch)
    return results
