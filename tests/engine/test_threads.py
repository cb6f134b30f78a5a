"""Owner threads: one thread each, never abandoned, nothing remembered."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from sorawm_pipeline.engine.threads import Owner, OwnerThread
from sorawm_pipeline.engine.virtual import VirtualTime
from tests.engine.fakes import Item


def raises(error: BaseException) -> None:
    raise error


async def test_every_call_runs_on_the_same_thread_which_is_not_the_loops() -> None:
    owner = OwnerThread("worker")
    threads = {await owner.call(threading.current_thread) for _ in range(3)}
    assert [thread.name for thread in threads] == ["worker"]
    await owner.stop()
    assert not threads.pop().is_alive()


async def test_arguments_and_results_go_through_and_the_loop_runs_meanwhile() -> None:
    owner = OwnerThread("worker")
    released = threading.Event()
    asyncio.get_running_loop().call_soon(released.set)
    assert await owner.call(released.wait, 5) is True
    assert await owner.call(divmod, 7, 2) == (3, 1)
    await owner.stop()


async def test_an_error_arrives_as_it_is_and_the_thread_lives_on() -> None:
    owner = OwnerThread("worker")
    with pytest.raises(KeyError, match="mine"):
        await owner.call(raises, KeyError("mine"))
    assert await owner.call(int, "4") == 4
    await owner.stop()


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), StopIteration()]
)
@pytest.mark.parametrize("kind", ["real", "virtual"])
def test_what_a_task_must_not_raise_comes_as_the_cause(error: BaseException, kind: str) -> None:
    async def main(make: Callable[[str], Owner]) -> None:
        owner = make("worker")
        with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
            await owner.call(raises, error)
        assert caught.value.__cause__ is error
        await owner.stop()

    if kind == "virtual":
        time = VirtualTime()
        time.run(main(time.thread))
    else:
        asyncio.run(main(OwnerThread))


async def test_a_cancelled_call_waits_for_its_thread_however_often_cancelled() -> None:
    owner = OwnerThread("worker")
    release, returned = threading.Event(), threading.Event()

    def block() -> None:
        release.wait(10)
        returned.set()

    task = asyncio.ensure_future(owner.call(block))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert returned.is_set()
    assert await owner.call(int, "4") == 4, "a late wake-up must not answer the next call"
    await owner.stop()


async def test_the_error_of_a_cancelled_call_is_the_cause() -> None:
    owner = OwnerThread("worker")
    release = threading.Event()

    def block() -> None:
        release.wait(10)
        raise KeyError("mine")

    task = asyncio.ensure_future(owner.call(block))
    await asyncio.sleep(0)
    task.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, KeyError)
    await owner.stop()


async def test_a_task_already_cancelled_still_runs_its_call() -> None:
    owner = OwnerThread("worker")
    ran = threading.Event()

    async def cancelled_before() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await owner.call(ran.set)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(cancelled_before())
    assert ran.is_set()
    await owner.stop()


async def test_stop_is_idempotent_and_needs_no_call_before() -> None:
    before = set(threading.enumerate())
    never_used = OwnerThread("never used")
    await never_used.stop()
    await never_used.stop()
    used = OwnerThread("used")
    await used.call(int)
    await used.stop()
    await used.stop()
    with pytest.raises(RuntimeError, match="has been stopped"):
        await used.call(int)
    with pytest.raises(RuntimeError, match="has been stopped"):
        await never_used.call(int)
    assert set(threading.enumerate()) == before


async def test_a_cancelled_stop_still_stops() -> None:
    before = set(threading.enumerate())
    owner = OwnerThread("worker")
    await owner.call(int)
    task = asyncio.ensure_future(owner.stop())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(threading.enumerate()) == before


async def test_a_second_call_at_once_is_refused() -> None:
    owner = OwnerThread("worker")
    release = threading.Event()
    task = asyncio.ensure_future(owner.call(release.wait, 10))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="is busy"):
        await owner.call(int)
    release.set()
    assert await task is True
    await owner.stop()


async def test_neither_argument_nor_result_nor_error_stays_referenced() -> None:
    owner = OwnerThread("worker")
    argument = Item(0)
    gone: list[weakref.ref[Item]] = [weakref.ref(argument)]

    def make(_: Item) -> Item:
        result = Item(1)
        gone.append(weakref.ref(result))
        return result

    def fail(item: Item) -> None:
        raise KeyError(item)

    gc.disable()
    try:
        await owner.call(make, argument)
        with suppress(KeyError):  # unlike pytest.raises it forgets the error at once
            await owner.call(fail, argument)
        del argument
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()
    await owner.stop()


def test_a_thread_outlives_its_loop_without_complaint() -> None:
    release, done = threading.Event(), threading.Event()

    def block() -> None:
        release.wait(10)
        done.set()

    async def abandon() -> OwnerThread:
        owner = OwnerThread("worker")
        owner._jobs.put((block, ()))
        owner._thread.start()
        return owner

    owner = asyncio.run(abandon())
    release.set()
    owner._thread.join(10)
    assert done.is_set()
    assert not owner._thread.is_alive()
