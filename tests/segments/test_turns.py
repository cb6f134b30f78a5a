"""Clips that share a few hands: none waits long, none is left out, none holds a turn for ever."""

from __future__ import annotations

import asyncio

import pytest

from sorawm_pipeline.segments.turns import Ticket, Turns


async def work(turns: Turns, ticket: Ticket, pieces: int, done: list[int]) -> None:
    """Two pieces at a time, as a clip's crew asks for them."""
    left = iter(range(pieces))

    async def one() -> None:
        for _ in left:
            async with turns.turn(ticket, 1.0):
                await asyncio.sleep(0)
            done.append(ticket.number)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(one())


async def test_a_short_clip_does_not_wait_for_a_long_one() -> None:
    turns, done = Turns(2), list[int]()
    async with asyncio.TaskGroup() as group:
        group.create_task(work(turns, turns.ticket(100), 100, done))
        for _ in range(5):
            await asyncio.sleep(0)
        began = len(done)
        short = turns.ticket(1)
        group.create_task(work(turns, short, 1, done))
    assert done.index(short.number) <= began + 6
    assert len(done) == 101


async def test_no_more_turns_than_slots_and_none_is_lost() -> None:
    turns, now, most = Turns(3), 0, 0

    async def one(ticket: Ticket) -> None:
        nonlocal now, most
        async with turns.turn(ticket, 1.0):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    async with asyncio.TaskGroup() as group:
        for pieces in (1, 2, 4, 8) * 5:
            group.create_task(one(turns.ticket(pieces)))
    assert (now, most) == (0, 3)


@pytest.mark.parametrize("given", [False, True])
async def test_a_turn_that_is_cancelled_goes_to_the_next(given: bool) -> None:
    turns = Turns(1)
    first, second, third = (turns.ticket(1) for _ in range(3))
    entered = asyncio.Event()

    async def hold(ticket: Ticket) -> None:
        async with turns.turn(ticket, 1.0):
            entered.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold(first))
    await entered.wait()
    waiter = asyncio.create_task(hold(second))
    await asyncio.sleep(0)
    if given:
        holder.cancel()
        waiter.cancel()
    else:
        waiter.cancel()
        await asyncio.wait([waiter])
        holder.cancel()
    await asyncio.wait([holder, waiter])
    async with asyncio.timeout(5), turns.turn(third, 1.0):
        pass
