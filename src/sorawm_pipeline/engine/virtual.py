"""Virtual time: the real engine on an event loop whose seconds cost nothing.

A test or a simulation gives a corridor `thread_factory=time.thread, clock=time.now` and lets its
stages `spend` the seconds they pretend to work. Everything runs in one thread and always in the
same order, so concurrency can be asserted in steps instead of awaited in sleeps; and a deadlock
is an error at once instead of a test that hangs.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from sorawm_pipeline.engine.threads import presentable

T = TypeVar("T")
Args = TypeVarTuple("Args")


class VirtualTime:
    """A clock that jumps to the next thing to do whenever nothing is left to do now.

    Attributes:
        owner: the thread whose function is running at this moment, None outside of one.
    """

    def __init__(self) -> None:
        self.owner: VirtualThread | None = None
        self._now = 0.0
        self._spent = 0.0

    def now(self) -> float:
        """Return the virtual seconds since the start."""
        return self._now

    @property
    def spent(self) -> float:
        """What the function that is running has spent so far."""
        return self._spent

    def spend(self, seconds: float) -> None:
        """Make the call of the function that is running last so much longer."""
        self._spent += seconds

    def thread(self, name: str) -> VirtualThread:
        """Make an owner thread that is none."""
        return VirtualThread(name, self)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` like `asyncio.run`, in virtual time; only virtual threads can wake it.

        Raises:
            DeadlockError: every task waits for another one.
        """
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(main)

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def take_spent(self) -> float:
        """Return what has been spent since this was last asked."""
        spent, self._spent = self._spent, 0.0
        return spent


class DeadlockError(RuntimeError):
    """Every task waits and no timer is set: nothing can ever happen again."""


class VirtualThread:
    """An `Owner` that runs a function on the spot and then waits as long as it spent."""

    def __init__(self, name: str, time: VirtualTime) -> None:
        self.name = name
        self.stopped = False
        self._time = time

    async def call(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        if self.stopped:
            raise RuntimeError(f"the owner thread of {self.name} has been stopped")
        failure: Exception | None = None
        cancelled: asyncio.CancelledError | None = None
        self._time.owner = self
        try:
            result = fn(*args)
        except BaseException as error:
            failure = presentable(error)
        finally:
            self._time.owner = None
        end = self._time.now() + self._time.take_spent()
        while True:
            try:
                await asyncio.sleep(end - self._time.now())
                break
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            if cancelled is not None:
                raise cancelled from failure
            if failure is not None:
                raise failure
            return result
        finally:
            del cancelled, failure  # an error in a local of its own traceback is a cycle

    async def stop(self) -> None:
        self.stopped = True


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, virtual: VirtualTime) -> None:
        super().__init__(_Selector(virtual))
        self._virtual = virtual

    def time(self) -> float:
        return self._virtual.now()


class _Selector(selectors.SelectSelector):
    """Where a loop would sleep, time jumps."""

    def __init__(self, virtual: VirtualTime) -> None:
        super().__init__()
        self._virtual = virtual

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError("every task waits and no timer is set")
        self._virtual.jump(max(timeout, 0.0))
        return []
