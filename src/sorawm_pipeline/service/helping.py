"""What a slot without a job does: pieces of another slot's clip, until there is a job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service import wire
from sorawm_pipeline.service.loans import Borrower, Loan
from sorawm_pipeline.service.worker import WorkerProcess

log = get_logger(__name__)


class Helping:
    """One slot's way of it.

    Args:
        number: of the slot.
        wanted: returns when the slot has something else to do.
        lost: told why its worker is lost.

    Attributes:
        job: of which pieces are done, or None.
    """

    def __init__(
        self,
        number: int,
        wanted: Callable[[], Awaitable[None]],
        lost: Callable[[str], Awaitable[None]],
    ) -> None:
        self.job: int | None = None
        self._number = number
        self._wanted = wanted
        self._lost = lost

    async def help(self, borrower: Borrower, worker: WorkerProcess) -> bool:
        """Do pieces for one clip until that needs no more, or the slot is wanted; whether any."""
        self.job = borrower.job.id
        loan, done = borrower.lend(self._number), 0
        log.info("helps", slot=self._number, job=self.job)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._recall_in_time(loan))
                while (order := await loan.next()) is not None:
                    loan.answer(await self._piece(worker, order, loan))
                    done += 1
                watching.cancel()
        finally:
            loan.close()
            self.job = None
        return done > 0

    async def _recall_in_time(self, loan: Loan) -> None:
        await self._wanted()
        loan.recall()

    async def _piece(self, worker: WorkerProcess, order: wire.Piece, loan: Loan) -> str | None:
        """The answer of this slot's worker; None if it is lost, or the piece not needed."""
        if not worker.alive:
            return None
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._asked(worker, order))
            stopping = group.create_task(loan.stopped.wait())
            await asyncio.wait([asking, stopping], return_when=asyncio.FIRST_COMPLETED)
            asking.cancel()
            stopping.cancel()
        return None if asking.cancelled() else asking.result()

    async def _asked(self, worker: WorkerProcess, order: wire.Piece) -> str | None:
        try:
            return (await worker.piece(order)).answer
        except DeviceError as error:
            await self._lost(error.message)
            return None
