"""Channels: order, bounds, end of stream, and what a cancelled wait leaves behind: nothing."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from sorawm_pipeline.engine.channel import Channel
from sorawm_pipeline.engine.virtual import DeadlockError, VirtualTime


def filled(capacity: int, *items: int) -> Channel[int]:
    channel: Channel[int] = Channel(capacity)
    channel.place(deque(items))
    return channel


def test_place_moves_as_many_as_fit_and_take_gives_them_in_order() -> None:
    channel: Channel[int] = Channel(3)
    items = deque(range(5))
    channel.place(items)
    assert list(items) == [3, 4]
    assert (len(channel), channel.room, channel.peak) == (3, 0, 3)
    assert channel.take(2) == [0, 1]
    channel.place(items)
    assert channel.take(99) == [2, 3, 4]
    assert channel.take(99) == []
    assert (len(channel), channel.room, channel.peak) == (0, 3, 3)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_channel_without_room_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="at least one item"):
        Channel(capacity)


async def test_waiting_is_immediate_when_there_is_nothing_to_wait_for() -> None:
    channel = filled(2, 7)
    assert await channel.wait_room() == 1
    assert await channel.wait_items() is True


async def test_end_is_a_state_that_lets_the_rest_out_first() -> None:
    channel = filled(2, 7)
    channel.end()
    channel.end()
    assert await channel.wait_items() is True
    assert channel.take(5) == [7]
    assert await channel.wait_items() is False
    assert await channel.wait_items() is False
    with pytest.raises(RuntimeError, match="has ended"):
        channel.place(deque([8]))


async def test_end_works_on_a_full_channel() -> None:
    channel = filled(1, 7)
    channel.end()
    assert channel.take(1) == [7]
    assert await channel.wait_items() is False


async def test_placing_taking_and_ending_wake_the_other_side() -> None:
    channel: Channel[int] = Channel(1)
    log: list[object] = []

    async def receive() -> None:
        while await channel.wait_items():
            log.append(channel.take(9))
        log.append("end")

    async def send() -> None:
        items = deque(range(4))
        while items:
            await channel.wait_room()
            channel.place(items)
        channel.end()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(receive())
        group.create_task(send())
    assert log == [[0], [1], [2], [3], "end"]


@pytest.mark.parametrize("side", ["receive", "send"])
async def test_a_cancelled_wait_changes_nothing_and_can_be_repeated(side: str) -> None:
    channel = filled(1, 1) if side == "send" else Channel[int](1)
    wait = channel.wait_room if side == "send" else channel.wait_items
    first = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert channel.take(9) == ([1] if side == "send" else [])
    channel.place(deque([2]))
    channel.take(9)
    if side == "receive":
        channel.place(deque([3]))
    async with asyncio.timeout(5):
        assert await wait() == 1


@pytest.mark.parametrize("side", ["receive", "send"])
async def test_a_wait_cancelled_after_it_was_woken_loses_nothing(side: str) -> None:
    channel = filled(1, 1) if side == "send" else Channel[int](1)
    wait = channel.wait_room if side == "send" else channel.wait_items
    first = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    if side == "send":
        assert channel.take(1) == [1]
    else:
        channel.place(deque([1]))
    first.cancel()  # woken, but not yet running again
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(channel) == (0 if side == "send" else 1)
    async with asyncio.timeout(5):
        assert await wait() == 1


@pytest.mark.parametrize("side", ["receive", "send"])
async def test_a_second_waiter_on_one_side_is_refused(side: str) -> None:
    channel = filled(1, 1) if side == "send" else Channel[int](1)
    wait = channel.wait_room if side == "send" else channel.wait_items
    first = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="second task"):
        await wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


def test_an_unended_channel_keeps_its_receiver_waiting() -> None:
    with pytest.raises(DeadlockError):
        VirtualTime().run(Channel[int](1).wait_items())


def test_discard_forgets_what_is_queued() -> None:
    channel = filled(3, 1, 2)
    channel.discard()
    assert (len(channel), channel.peak) == (0, 2)
