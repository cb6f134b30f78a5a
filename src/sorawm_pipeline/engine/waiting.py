"""Waiting that cannot be called off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any


async def outlast(
    futures: Iterable[asyncio.Future[Any]], on_cancel: Callable[[], object] = lambda: None
) -> None:
    """Wait until all are done, however often this is cancelled meanwhile.

    Args:
        futures: tasks or futures; how they end is not looked at.
        on_cancel: called once, when this is cancelled for the first time.

    Raises:
        CancelledError: afterwards, if it was cancelled.
    """
    awaited, cancelled = list(futures), False
    while waiting := [future for future in awaited if not future.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            if not cancelled:
                on_cancel()
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
