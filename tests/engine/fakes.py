"""Sources and stages that can be told how long to take, what to keep and when to fail."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sorawm_pipeline.engine.virtual import VirtualTime


class Item:
    """Something that can be counted while it is alive."""

    __slots__ = ("__weakref__", "index")

    def __init__(self, index: int) -> None:
        self.index = index


class PlannedError(Exception):
    """A failure that the test asked for."""


@dataclass(frozen=True)
class Fault:
    """Let the n-th call (from 0) of a method of a part raise."""

    part: str
    method: str
    nth: int = 0

    def __str__(self) -> str:
        return f"planned {self.part}.{self.method}#{self.nth}"


@dataclass
class Machine:
    """What all parts of one corridor share: the clock, the planned faults and the record."""

    time: VirtualTime | None = None
    faults: frozenset[Fault] = frozenset()
    on_call: Callable[[str, str, int], None] = lambda part, method, nth: None
    alive: weakref.WeakSet[Item] = field(default_factory=weakref.WeakSet)
    alive_peak: int = 0
    fired: list[Fault] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def where(self) -> object:
        """The thread this runs on, real or virtual."""
        return self.time.owner if self.time else threading.get_ident()

    def spend(self, seconds: float) -> None:
        if self.time:
            self.time.spend(seconds)

    def make(self, index: int) -> Item:
        item = Item(index)
        self.alive.add(item)
        return item

    def sample(self) -> None:
        self.alive_peak = max(self.alive_peak, len(self.alive))


class Part:
    def __init__(self, machine: Machine, name: str, *, held: int = 0, seconds: float = 0.0) -> None:
        self.name = name
        self.held = held
        self.seconds = seconds
        self.calls: Counter[str] = Counter()
        self.machine = machine
        self._home: object = None
        self._inside = False

    def open(self) -> None:
        self._home = self.machine.where()
        self._enter("open")

    def close(self) -> None:
        self._forget()
        self._enter("close")

    def _forget(self) -> None:
        """Let go of everything held."""

    def _enter(self, method: str, items: int = 1) -> None:
        nth = self.calls[method]
        self.calls[method] += 1
        self.machine.sample()
        if self.calls["close"] + self.calls["open"] not in (1, 2) or self.calls["open"] != 1:
            self.machine.violations.append(f"{self.name}.{method} out of its life: {self.calls}")
        if method != "close" and self.calls["close"]:
            self.machine.violations.append(f"{self.name}.{method} after close")
        if self.machine.where() != self._home:
            self.machine.violations.append(f"{self.name}.{method} on another thread")
        self.machine.spend(self.seconds * items)
        self.machine.on_call(self.name, method, nth)
        fault = Fault(self.name, method, nth)
        if fault in self.machine.faults:
            self.machine.fired.append(fault)
            raise PlannedError(str(fault))


class FakeSource(Part):
    """Gives items 0 to count-1; like a decoder it has `held` of them ready inside."""

    def __init__(
        self, machine: Machine, count: int, *, held: int = 0, seconds: float = 0.0
    ) -> None:
        super().__init__(machine, "source", held=held, seconds=seconds)
        self._count = count
        self._made = 0
        self._ahead: deque[Item] = deque()

    def read(self, limit: int) -> list[Item]:
        items: list[Item] = []
        while len(items) < limit and (self._ahead or self._made < self._count):
            self._fill(1)
            items.append(self._ahead.popleft())
        self._fill(self.held)
        self._enter("read", len(items))
        return items

    def _fill(self, wanted: int) -> None:
        while len(self._ahead) < wanted and self._made < self._count:
            self._ahead.append(self.machine.make(self._made))
            self._made += 1

    def _forget(self) -> None:
        self._ahead.clear()


class FakeStage(Part):
    """Keeps the last `held` items back; its cap goes round in `caps`."""

    def __init__(
        self,
        machine: Machine,
        name: str,
        *,
        caps: Sequence[int] = (1,),
        held: int = 0,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(machine, name, held=held, seconds=seconds)
        self.max_cap = max(caps)
        self.batches: list[int] = []
        self._caps = caps
        self._asked = 0
        self._kept: deque[Item] = deque()

    def cap(self) -> int:
        self._asked += 1
        return self._caps[(self._asked - 1) % len(self._caps)]

    def process(self, batch: Sequence[Item]) -> list[Item]:
        self.batches.append(len(batch))
        self._enter("process", len(batch))
        self._kept.extend(batch)
        return [self._kept.popleft() for _ in range(max(0, len(self._kept) - self.held))]

    def flush(self) -> list[Item]:
        self._enter("flush")
        rest = list(self._kept)
        self._kept.clear()
        return rest

    def _forget(self) -> None:
        self._kept.clear()


class FakeSink(FakeStage):
    """Notes the index of each item; like an encoder it keeps the last `held` ones a while."""

    def __init__(
        self,
        machine: Machine,
        *,
        caps: Sequence[int] = (1,),
        held: int = 0,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(machine, "sink", caps=caps, held=held, seconds=seconds)
        self.seen: list[int] = []

    def process(self, batch: Sequence[Item]) -> list[Item]:
        done = super().process(batch)
        self.seen.extend(item.index for item in batch)
        done.clear()
        return done

    def flush(self) -> list[Item]:
        super().flush().clear()
        return []
