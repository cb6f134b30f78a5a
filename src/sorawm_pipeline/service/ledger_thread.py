"""The ledger's one writer thread, called from the event loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.threads import Desk

T = TypeVar("T")


class LedgerThread:
    """A `Ledger` on a thread of its own.

        job = await ledger.call(lambda ledger: ledger.job(7))

    Calls are served in turn. Cancelling one waits until it has returned (see `engine.threads`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._desk = Desk("ledger")
        self._ledger: Ledger | None = None

    async def call(self, use: Callable[[Ledger], T]) -> T:
        """What `use` returns.

        Raises:
            ConfigError: a newer program wrote the ledger.
            sqlite3.Error: the disk refuses. The next call opens the ledger anew.
            LookupError: there is no such job.
        """
        return await self._desk.call(lambda: self._use(use))

    async def close(self) -> None:
        await self._desk.call(self._close)
        await self._desk.close()

    def _use(self, use: Callable[[Ledger], T]) -> T:
        if self._ledger is None:
            self._ledger = Ledger(self._path)
        try:
            return use(self._ledger)
        except (LookupError, ValueError):
            raise
        except Exception:
            # A connection that has met a disk error is not to be trusted with the next statement.
            self._close()
            raise

    def _close(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()
