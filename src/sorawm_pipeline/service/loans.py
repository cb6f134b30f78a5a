"""Workers without a job of their own do pieces of another one's long clip; the daemon's side.

The clip's worker gives an order for a hand, the daemon hands it to the slot that is that hand, and
takes the answer back. Workers never speak to each other, and an order may name nothing but its
own job's source and staging folder.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service import wire
from sorawm_pipeline.service.jobs import Job
from sorawm_pipeline.service.names import staging_folder
from sorawm_pipeline.service.worker import WorkerProcess

log = get_logger(__name__)


class Loan:
    """One slot that does pieces for another one's clip.

    Attributes:
        job: whose pieces.
        stopped: set when nobody needs the piece at work any more.
    """

    def __init__(self, number: int, borrower: Borrower) -> None:
        self.job = borrower.job
        self.stopped = asyncio.Event()
        self._number = number
        self._borrower = borrower
        self._orders: asyncio.Queue[wire.Give | None] = asyncio.Queue()

    async def next(self) -> wire.Piece | None:
        """The next order; None: there will be no more."""
        given = await self._orders.get()
        if given is None:
            return None
        self.stopped.clear()
        source, most = self.job.source.path, self._borrower.max_bytes
        return wire.Piece(
            source=source, store=given.store, plan=given.plan, task=given.task, max_bytes=most
        )

    def answer(self, text: str | None) -> None:
        """How an order ended; None: nobody knows, the worker is lost."""
        self._borrower.say(wire.Given(hand=self._number, answer=text))

    def recall(self) -> None:
        """Ask for the slot back: it gets no more orders than the one at work."""
        self._borrower.say(wire.Recall(hand=self._number))

    def close(self) -> None:
        """The slot is at work for itself again."""
        self._borrower.forget(self._number)

    def hear(self, message: wire.Give | wire.Stop | wire.Back) -> None:
        match message:
            case wire.Give():
                self._orders.put_nowait(message)
            case wire.Stop():
                self.stopped.set()
            case wire.Back():
                self._orders.put_nowait(None)

    def end(self) -> None:
        """The clip is done, or its worker lost."""
        self.stopped.set()
        self._orders.put_nowait(None)


class Borrower:
    """A worker that is at a clip in pieces.

    Args:
        job: the clip's.
        worker: at it.
        max_bytes: of the largest file that may be written for it.
    """

    def __init__(self, job: Job, worker: WorkerProcess, max_bytes: int) -> None:
        self.job = job
        self.max_bytes = max_bytes
        self._worker = worker
        self._loans: dict[int, Loan] = {}
        self._open = True

    @property
    def helpers(self) -> int:
        return len(self._loans)

    def lend(self, number: int) -> Loan:
        """Offer it a slot as a hand."""
        loan = self._loans[number] = Loan(number, self)
        self.say(wire.Lend(hand=number))
        return loan

    def hear(self, message: wire.Give | wire.Stop | wire.Back) -> None:
        """What its worker says to one of its hands."""
        loan = self._loans.get(message.hand)
        if isinstance(message, wire.Give) and not (loan and self._is_own(message.store)):
            log.warning("an order for nobody, or for foreign files", job=self.job.id)
            self.say(wire.Given(hand=message.hand, answer=None))
        elif loan is not None:
            loan.hear(message)

    def say(self, message: wire.Lend | wire.Recall | wire.Given) -> None:
        if self._open:
            self._worker.say(message)

    def forget(self, number: int) -> None:
        self._loans.pop(number, None)

    def close(self) -> None:
        """It needs no hands any more."""
        self._open = False
        for loan in self._loans.values():
            loan.end()

    def _is_own(self, store: Path) -> bool:
        return Path(os.path.normpath(store)).is_relative_to(staging_folder(self.job))


class Loans:
    """Who could do with hands, in the whole daemon."""

    def __init__(self) -> None:
        self._borrowers: list[Borrower] = []

    def open(self, borrower: Borrower) -> bool:
        """Whether that is new."""
        if borrower in self._borrowers:
            return False
        self._borrowers.append(borrower)
        return True

    def close(self, borrower: Borrower) -> None:
        """Also of one that was never open."""
        if borrower in self._borrowers:
            self._borrowers.remove(borrower)
        borrower.close()

    @property
    def neediest(self) -> Borrower | None:
        """The one with the fewest hands; of several, who came first."""
        return min(self._borrowers, key=lambda borrower: borrower.helpers, default=None)
