"""One thread that owns a stage, called from the event loop.

A call costs one hop there and one back, for a whole batch: a `SimpleQueue.put`, a
`call_soon_threadsafe` and one future, about 50 µs, nearly all of it the two thread switches.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, TypeVarTuple, cast

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Owner(Protocol):
    """Runs blocking functions one at a time, in one place, for one task."""

    async def call(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        """Run `fn(*args)` and return what it returns.

        Cancellation: the function is neither interrupted nor abandoned. The call waits until it
        has returned, however often it is cancelled, drops the result and raises CancelledError;
        if `fn` failed meanwhile, that error is the CancelledError's `__cause__`. A task that is
        already being cancelled when it calls still runs `fn`.

        Raises:
            Exception: what `fn` raised, see `presentable`.
        """

    async def stop(self) -> None:
        """End the thread and wait until it has ended. Idempotent; harmless if it never ran.

        Cancellation: waits to the end, then raises CancelledError.
        """


ThreadFactory = Callable[[str], Owner]


class OwnerThread:
    """The real `Owner`: a thread of its own, started by the first call.

    The thread is a daemon: a run never returns before its threads have ended, so this matters
    only when the event loop itself is torn down under a run. Then a process that exits is better
    than one that waits for ever for a loop that is gone.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._outcome: tuple[object, Exception | None] = None, None
        self._done = False
        self._waiter: asyncio.Future[None] | None = None
        self._busy = False
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    async def call(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        if self._busy or self._stopped:
            state = "has been stopped" if self._stopped else "is busy with another call"
            raise RuntimeError(f"the owner thread of {self._thread.name} {state}")
        if self._thread.ident is None:
            self._thread.start()
        self._jobs.put((fn, args))
        return cast("T", await self._returned())

    async def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._thread.ident is None:
            return
        self._jobs.put(None)
        try:
            await self._returned()
        finally:
            self._thread.join()  # it has said its last word: only its exit is waited for

    async def _returned(self) -> object:
        self._busy = True
        cancelled: asyncio.CancelledError | None = None
        while not self._done:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError as error:
                cancelled = error
        (result, failure), self._outcome = self._outcome, (None, None)
        self._done = self._busy = False
        try:
            if cancelled is not None:
                raise cancelled from failure
            if failure is not None:
                raise failure
            return result
        finally:
            del cancelled, failure  # an error in a local of its own traceback is a cycle

    def _wake(self) -> None:
        # may come late, when a cancelled wait has seen for itself that the call is done: then
        # nobody waits, or the next call does, which looks and waits on
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _work(self) -> None:
        """Serve calls. When one is said to be done, no local here refers to what it moved."""
        while (job := self._jobs.get()) is not None:
            fn, args = job
            try:
                self._outcome = fn(*args), None
            except BaseException as error:
                self._outcome = None, presentable(error)
            del job, fn, args
            if not self._hand_over():
                return
        self._hand_over()

    def _hand_over(self) -> bool:
        self._done = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            return False
        return True


def presentable(error: BaseException) -> Exception:
    """Return an error that a task may raise.

    What would stop the event loop (SystemExit, KeyboardInterrupt), pass for a cancellation
    (CancelledError) or not get through a coroutine (StopIteration) becomes the cause of a
    RuntimeError.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    stand_in = RuntimeError(f"the thread's code raised {type(error).__name__}")
    stand_in.__cause__ = error
    return stand_in
