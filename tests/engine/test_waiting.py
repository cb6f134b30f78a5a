"""Waiting that outlasts being cancelled."""

from __future__ import annotations

import asyncio

import pytest

from sorawm_pipeline.engine import outlast


async def test_it_waits_on_and_is_cancelled_afterwards() -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
    told: list[str] = []
    waiting = asyncio.create_task(outlast(futures, lambda: told.append("stop")))
    for number in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
        if number < 2:
            futures[number].set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert told == ["stop"]


async def test_it_ends_when_all_are_done_whatever_they_end_with() -> None:
    loop = asyncio.get_running_loop()
    good, bad = loop.create_future(), loop.create_future()
    waiting = asyncio.create_task(outlast([good, bad]))
    good.set_result(None)
    await asyncio.sleep(0)
    assert not waiting.done()
    bad.set_exception(ValueError())
    await waiting
    assert isinstance(bad.exception(), ValueError)
    await outlast([])
