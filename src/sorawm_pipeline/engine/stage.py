"""What the corridor asks of the code that runs in it.

Sources and stages are plain blocking code: no asyncio, no queues, no logging. Each lives on one
owner thread of its own, on which it is opened, used and closed, so a codec context or a model
that must not change threads never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


class Lifetime(Protocol):
    """What every part of a corridor has in common.

    `open` is called first. `close` is called exactly once if `open` was called, on the same
    thread, after success, failure and cancellation alike; also when `open` itself raised, so it
    must tolerate a half-open state.
    """

    @property
    def name(self) -> str:
        """Unique in its corridor; appears in errors, reports and metrics."""

    @property
    def held(self) -> int:
        """Most items it keeps between calls: a temporal window, a codec's delay."""

    def open(self) -> None: ...

    def close(self) -> None: ...


class Source(Lifetime, Protocol[Out]):
    """Where the items come from. Items it holds inside count in the bound, not in live items."""

    def read(self, limit: int) -> Sequence[Out]:
        """Return between 1 and `limit` items, in order; none at all means the stream has ended."""


class Stage(Lifetime, Protocol[In, Out]):
    """One step: as many items out as in, in the same order, possibly later.

    Between calls a stage keeps at most `held` items back, and after `flush` none; breaking either
    promise fails the run. The last stage of a corridor is its sink: it returns nothing, and an
    item is consumed when the `process` that took it returns. A stage must not remember a sequence
    it returned, or items live longer than the published bound allows.
    """

    @property
    def max_cap(self) -> int:
        """The most that `cap` may ever return; the bound counts it."""

    def cap(self) -> int:
        """Largest batch wanted now. Called on the event loop just before taking: must not block.

        The engine keeps it within 1 and `max_cap`.
        """

    def process(self, batch: Sequence[In]) -> Sequence[Out]:
        """Work on the next items, never an empty batch."""

    def flush(self) -> Sequence[Out]:
        """After the last item: return all that is still held. Not called on failure."""
