"""When to look at the watched folder: after events, and at all of it now and then.

Events say only where to look; what there is, is looked up. So one that is lost, wrong, or late
costs time until the next look at the whole folder, and nothing else. That covers an overflow of
inotify's queue, network mounts, a limit on watches, and names that are not UTF-8, at which
watchfiles gives up with an error: it is started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Protocol

import watchfiles

from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service.scan import Scope

DEBOUNCE_MS, STEP_MS, POLL_MS = 400, 200, 1000
RETURN_S, RESTART_S, LONGEST_RESTART_S = 5.0, 1.0, 60.0
SECOND_LOOK_S = 3.0
"""Seconds between looks for a folder that is gone; before the events of one that failed restart.
After the first look there is a second one soon: what came before events flow is not told."""

log = get_logger(__name__)


class Events(Protocol):
    """Gives the paths that changed below a folder until closed; may end or fail at any time."""

    def __call__(self, root: Path) -> AsyncIterator[Sequence[Path]]: ...


def file_events(*, force_polling: bool) -> Events:
    """Events by watchfiles."""

    async def events(root: Path) -> AsyncGenerator[Sequence[Path], None]:
        changes = watchfiles.awatch(
            root,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            force_polling=force_polling or None,
            poll_delay_ms=POLL_MS,
            ignore_permission_denied=True,
        )
        async with aclosing(changes):
            async for batch in changes:
                yield sorted({Path(path) for _, path in batch})

    return events


class Watch:
    """Tells which paths of the watched folder to look at; the folder itself means all of it.

    Args:
        scope: what is watched.
        rescan_s: seconds between looks at the whole folder.
        events: what tells of changes in between.
        told: told in words when the folder goes away and comes back.
    """

    def __init__(
        self,
        scope: Scope,
        rescan_s: float,
        events: Events,
        told: Callable[[str], object] = log.warning,
    ) -> None:
        self.scope = scope
        self.rescan_s = rescan_s
        self.there = False
        self._events = events
        self._told = told
        self._wake = asyncio.Event()
        self._pending: set[Path] = set()
        self._mark: tuple[int, int] | None = None

    def rescan(self) -> None:
        """Look at the whole folder now."""
        self._pending.add(self.scope.root)
        self._wake.set()

    async def run(self, changed: Callable[[Sequence[Path]], object]) -> None:
        """Call `changed` with paths to look at, first with the whole folder, until cancelled."""
        while True:
            self._mark = self.scope.mark()
            self._notice(self._mark is not None)
            if self._mark is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(RETURN_S, self.rescan_s)):
                        await asyncio.Event().wait()
                continue
            self.rescan()
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                await self._tell(changed)
                listening.cancel()

    async def _tell(self, changed: Callable[[Sequence[Path]], object]) -> None:
        """Pass on what is pending until the folder is another one, or gone."""
        loop = asyncio.get_running_loop()
        due, interval = loop.time(), min(SECOND_LOOK_S, self.rescan_s)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()
            if self.scope.mark() != self._mark:
                return
            pending, self._pending = self._pending, set()
            if loop.time() >= due or self.scope.root in pending:
                due, interval = loop.time() + interval, self.rescan_s
                pending = {self.scope.root}
            if pending:
                changed(sorted(pending))

    async def _listen(self) -> None:
        """Gather events, for as long as the folder is this one."""
        wait = RESTART_S
        while True:
            try:
                async for batch in self._events(self.scope.root):
                    wait = RESTART_S
                    self._pending.update(batch)
                    self._wake.set()
            except Exception as error:  # of whatever kind: the folder is looked at all the same
                reason = _innermost(error)
                log.info("events of the watched folder failed; it is looked at", reason=str(reason))
            self.rescan()
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_RESTART_S)

    def _notice(self, there: bool) -> None:
        if there != self.there:
            self.there = there
            state = "is watched" if there else "is not there; waiting for it"
            self._told(f"{self.scope.root} {state}")


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
