"""The ledger as the daemon keeps it: what must be written is written, once the disk lets it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.ledger_thread import LedgerThread
from sorawm_pipeline.service.signals import Gate

T = TypeVar("T")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0


class Books:
    """Writes, and waits where others would fail.

    Args:
        ledger: where everything is written.
        gate: closed while nothing can be.
    """

    def __init__(self, ledger: LedgerThread, gate: Gate) -> None:
        self.ledger = ledger
        self._gate = gate

    async def keep(self, use: Callable[[Ledger], T]) -> T:
        """What `use` returns; tried again until the disk lets it, which `use` must bear.

        Raises:
            ConfigError, LookupError: as `LedgerThread.call`.
            sqlite3.DatabaseError: the ledger is damaged.
        """
        wait = FIRST_WAIT_S
        while True:
            try:
                result = await self.ledger.call(use)
            except (sqlite3.OperationalError, OSError) as error:
                self._gate.close("ledger", f"the ledger cannot be written: {error}")
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
            else:
                self._gate.open("ledger")
                return result
