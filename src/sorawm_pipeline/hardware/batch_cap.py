"""How many items a stage may take in one batch: more while there is room, half when there is none.

The policy is additive increase, multiplicative decrease; a step up that brings pressure at once is
taken back, and not repeated for a while. `CapState` is a value and its methods
are pure; `BatchCap` holds one and feeds it what happened to each batch. Nothing here knows where
the readings come from: NVML, psutil and a simulator all answer with `Signals`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from sorawm_pipeline.errors import DeviceError

T = TypeVar("T")
R = TypeVar("R")

PRESSURE = 0.10
"""Share of the memory budget: with less free than this the cap is halved."""

HEADROOM = 0.12
"""Share of the memory budget: with less free than this the cap does not grow."""

PATIENCE = 32
"""Full batches without trouble after which a size that once ran out of memory is tried again."""


@dataclass(frozen=True, slots=True)
class Signals:
    """One reading of the machine.

    Attributes:
        sample: number of the reading; a reading that was acted on is not acted on again, so one
            moment of pressure halves the cap once however many batches pass before the next.
        memory_free: share of the memory budget that is free, 0 to 1.
        throttled: the device slows itself down because of temperature or power.
    """

    sample: int = 0
    memory_free: float = 1.0
    throttled: bool = False

    @property
    def pressure(self) -> bool:
        return self.throttled or self.memory_free < PRESSURE

    @property
    def headroom(self) -> bool:
        return not self.throttled and self.memory_free >= HEADROOM


@dataclass(frozen=True, slots=True)
class CapState:
    """The cap and what it has learned.

    Attributes:
        cap: items a batch may have now, 1 to `max_cap`.
        max_cap: never exceeded.
        ceiling: largest size not known to run out of memory, `cap` to `max_cap`.
        calm: full batches in a row that went well while `cap` stood at `ceiling`.
        grown: whether the cap has just grown, and no full batch has gone well since.
        acted_on: `Signals.sample` of the last pressure that halved the cap.
    """

    cap: int
    max_cap: int
    ceiling: int
    calm: int = 0
    grown: bool = False
    acted_on: int | None = None

    def after_success(self, size: int, signals: Signals, waiting: int = 0) -> CapState:
        """The state after a batch of `size` items went well while the machine gave `signals`.

        The cap grows if it was what kept the batch small: if the batch was as large as the cap,
        for stages take all that is queued, or if more than the cap were `waiting` and were cut
        into equal parts.
        """
        if signals.pressure:
            if signals.sample == self.acted_on:
                return self
            if self.grown and not signals.throttled and size == self.cap > 1:
                # It was the last step up that was too much, and nobody else.
                less = self.cap - 1
                return replace(
                    self, cap=less, ceiling=less, calm=0, grown=False, acted_on=signals.sample
                )
            cap = max(1, self.cap // 2)
            return replace(self, cap=cap, calm=0, grown=False, acted_on=signals.sample)
        if max(size, waiting) < self.cap:
            return self
        if not signals.headroom:
            return replace(self, grown=False)
        if self.cap < self.ceiling:
            return replace(self, cap=self.cap + 1, calm=0, grown=True)
        if self.ceiling < self.max_cap and self.calm + 1 >= PATIENCE:
            return replace(self, cap=self.cap + 1, ceiling=self.ceiling + 1, calm=0, grown=True)
        return replace(self, calm=min(self.calm + 1, PATIENCE), grown=False)

    def after_out_of_memory(self, size: int) -> CapState:
        """The state after a batch of `size` items did not fit into memory."""
        ceiling = max(1, min(self.ceiling, size - 1))
        return replace(
            self, cap=max(1, min(self.cap, size // 2)), ceiling=ceiling, calm=0, grown=False
        )


def _no_trouble() -> Signals:
    return Signals()


class BatchCap:
    """The cap of one stage, moved by what happens to its batches.

    `run` belongs to the stage's thread; `cap` may be read from any.

    Args:
        max_cap: largest batch ever, at least 1.
        start: first cap, 1 to `max_cap`; `start=max_cap` is a fixed size that still gives way
            when memory runs out.
        signals: called after each batch for the newest reading; must not block.
        release: called to give cached device memory back: when memory ran out, before the halves
            are tried, and whenever pressure lowers the cap, for a device that keeps what a larger
            batch took would never look relieved.
    """

    def __init__(
        self,
        max_cap: int,
        *,
        start: int = 1,
        signals: Callable[[], Signals] = _no_trouble,
        release: Callable[[], None] | None = None,
    ) -> None:
        if not 1 <= start <= max_cap:
            raise ValueError(f"start must be from 1 to max_cap={max_cap}, not {start}")
        self._state = CapState(cap=start, max_cap=max_cap, ceiling=max_cap)
        self._signals = signals
        self._release = release

    @property
    def max_cap(self) -> int:
        return self._state.max_cap

    @property
    def state(self) -> CapState:
        return self._state

    def cap(self) -> int:
        """Items the next batch may have, 1 to `max_cap`."""
        return self._state.cap

    def run(self, fn: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
        """Results of `fn` for `items`, in order, in as few calls of about one size as the cap lets.

        A call that runs out of memory is repeated with half as many items, so `fn` must give the
        same answer when it is asked again.

        Raises:
            DeviceError: a single item does not fit into memory.
            ValueError: `fn` did not return one result per item.
        """
        results: list[R] = []
        while left := len(items) - len(results):
            size = -(-left // -(-left // self.cap()))
            part = items[len(results) : len(results) + size]
            shortage = None
            try:
                done = fn(part)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # Only the text is kept: the traceback would hold the memory that must go.
                shortage = f"{type(error).__name__}: {error}".partition("\n")[0]
            if shortage is None:
                if len(done) != size:
                    raise ValueError(f"{size} items went in, {len(done)} results came out")
                results.extend(done)
                self._succeeded(size, len(items))
                continue
            self._state = self._state.after_out_of_memory(size)
            self._give_back()
            if size == 1:
                raise DeviceError(f"not enough memory for a single frame ({shortage})")
        return results

    def _succeeded(self, size: int, waiting: int) -> None:
        signals, before = self._signals(), self._state
        self._state = before.after_success(size, signals, waiting)
        if signals.pressure and self._state.acted_on != before.acted_on:
            self._give_back()

    def _give_back(self) -> None:
        if self._release is not None:
            self._release()


_SHORTAGE_PHRASES = (
    "out of memory",  # CUDA, cuDNN, OpenCV's StsNoMem, torch's CPU allocator on some builds
    "failed to allocate memory",  # onnxruntime's arenas
    "can't allocate memory",  # torch.DefaultCPUAllocator
    "not enough memory",  # torch.DefaultCPUAllocator on Windows
    "insufficient memory",  # OpenCV
    "bad_alloc",
    "bad allocation",
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the host or a device; told by name and text."""
    if isinstance(error, MemoryError):
        return True
    if any(cls.__name__ == "OutOfMemoryError" for cls in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, Exception) and any(phrase in text for phrase in _SHORTAGE_PHRASES)
