"""Another worker as a hand for the clip of this one, reached through the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sorawm_pipeline.engine import outlast
from sorawm_pipeline.scheduling import STEPS
from sorawm_pipeline.segments.dispatch import HandLostError
from sorawm_pipeline.segments.orders import Answer, Order, Place
from sorawm_pipeline.segments.pieces import Task
from sorawm_pipeline.service import wire


class LentHand:
    """Does the tasks of `segments.dispatch` by orders to the daemon.

    Args:
        number: by which both sides know it.
        say: the way to the daemon.

    Attributes:
        at_work: whether it has a task.
    """

    steps = STEPS

    def __init__(self, number: int, say: Callable[[wire.Message], None]) -> None:
        self.number = number
        self.alive = True
        self._say = say
        self._answer: asyncio.Future[str | None] | None = None

    @property
    def at_work(self) -> bool:
        return self._answer is not None

    def given(self, answer: str | None) -> None:
        """What the daemon says of the task at work."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    async def do(self, place: Place, task: Task, _: Callable[[int], None]) -> None:
        order = Order.of(place, task)
        answer = self._answer = asyncio.get_running_loop().create_future()
        try:
            self._say(
                wire.Give(hand=self.number, store=order.store, plan=order.plan, task=order.task)
            )
            # Until nobody is at the task any more.
            await outlast([answer], lambda: self._say(wire.Stop(hand=self.number)))
        finally:
            self._answer = None
        text = answer.result()
        if text is None:
            self.alive = False
            raise HandLostError("another worker was lost")
        Answer.model_validate_json(text).raised()
