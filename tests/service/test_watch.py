"""When the folder is looked at: with events made up, and a few times with real ones."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sorawm_pipeline.service import watch as watch_module
from sorawm_pipeline.service.scan import Scope
from sorawm_pipeline.service.watch import Events, Watch, file_events

LONG_S = 3600.0


class Script:
    """Events as a test says; an exception in the queue is raised."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[Path] | Exception] = asyncio.Queue()
        self.starts = 0

    async def __call__(self, root: Path) -> AsyncIterator[Sequence[Path]]:
        self.starts += 1
        while True:
            event = await self.queue.get()
            if isinstance(event, Exception):
                raise event
            yield event


class Looks:
    """What `Watch` asks to be looked at."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[Path]] = asyncio.Queue()

    def __call__(self, paths: Sequence[Path]) -> None:
        self.queue.put_nowait(list(paths))

    async def next(self) -> list[Path]:
        async with asyncio.timeout(20):
            return await self.queue.get()

    async def until(self, path: Path) -> None:
        """Until a path, or a folder that it is in, is to be looked at."""
        while not any(path == asked or asked in path.parents for asked in await self.next()):
            pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    return root


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "RETURN_S", 0.01)
    monkeypatch.setattr(watch_module, "RESTART_S", 0.01)
    monkeypatch.setattr(watch_module, "SECOND_LOOK_S", LONG_S)


@asynccontextmanager
async def watching(
    root: Path, events: Events, rescan_s: float = LONG_S, told: list[str] | None = None
) -> AsyncIterator[Looks]:
    looks, words = Looks(), told if told is not None else []
    watch = Watch(Scope(root), rescan_s, events, words.append)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(watch.run(looks))
        yield looks
        running.cancel()


async def test_everything_first_then_what_events_name(root: Path) -> None:
    script = Script()
    async with watching(root, script) as looks:
        assert await looks.next() == [root]
        script.queue.put_nowait([root / "a"])
        assert await looks.next() == [root / "a"]


async def test_everything_again_after_a_while(root: Path) -> None:
    async with watching(root, Script(), rescan_s=0.01) as looks:
        for _ in range(3):
            assert await looks.next() == [root]


async def test_a_second_look_soon_after_the_first(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "SECOND_LOOK_S", 0.01)
    async with watching(root, Script()) as looks:
        assert await looks.next() == [root]
        assert await looks.next() == [root]


async def test_events_that_fail_are_started_again_and_everything_is_looked_at(root: Path) -> None:
    script = Script()
    async with watching(root, script) as looks:
        await looks.next()
        for error in (OSError(28, "inotify watch limit reached"), RuntimeError("not UTF-8")):
            script.queue.put_nowait(error)
            assert await looks.next() == [root]
        script.queue.put_nowait([root / "a"])
        assert await looks.next() == [root / "a"]
    assert script.starts == 3


async def test_a_folder_that_goes_away_and_comes_back(root: Path) -> None:
    script, told = Script(), list[str]()
    async with watching(root, script, told=told) as looks:
        await looks.next()
        root.rmdir()
        script.queue.put_nowait([root])
        while len(told) < 2:  # noqa: ASYNC110 - told by a callback
            await asyncio.sleep(0)
        root.mkdir()
        assert await looks.next() == [root]
    assert ["is watched" in told[0], "is not there" in told[1], "is watched" in told[2]] == [
        *(True, True, True),
    ]
    assert script.starts == 2


async def test_a_folder_that_is_not_there_yet(root: Path) -> None:
    root.rmdir()
    async with watching(root, Script()) as looks:
        await asyncio.sleep(0)
        root.mkdir()
        assert await looks.next() == [root]


async def test_another_folder_of_the_same_name_is_looked_at_whole(root: Path) -> None:
    script = Script()
    async with watching(root, script) as looks:
        await looks.next()
        root.rename(root.with_name("old"))
        root.mkdir()
        script.queue.put_nowait([root / "a"])
        assert await looks.next() == [root]


@pytest.mark.parametrize("force_polling", [False, True])
async def test_real_events(root: Path, force_polling: bool) -> None:
    async with watching(root, file_events(force_polling=force_polling)) as looks:
        await looks.next()
        while True:  # until the watch is set up, which nobody tells
            (root / "first").write_text(os.urandom(4).hex())
            try:
                async with asyncio.timeout(0.5):
                    await looks.queue.get()
                break
            except TimeoutError:
                continue
        (root / "new\nline.mp4").touch()
        await looks.until(root / "new\nline.mp4")
        (root / "sub").mkdir()
        await looks.until(root / "sub")
        (root / "sub/b.mp4").write_text("b")
        await looks.until(root / "sub/b.mp4")
        (root / "sub/b.mp4").rename(root / "c.mp4")
        await looks.until(root / "c.mp4")


async def test_real_events_of_a_name_that_is_not_utf_8(root: Path) -> None:
    """Watchfiles gives up at it; it is found all the same, and the next one too."""
    async with watching(root, file_events(force_polling=False)) as looks:
        await looks.next()
        raw = root / os.fsdecode(b"\xff.mp4")
        while looks.queue.empty():
            raw.write_text(os.urandom(4).hex())
            await asyncio.sleep(0.2)
        assert await looks.next() == [root]
        raw.unlink()


async def test_a_real_folder_that_is_deleted_and_made_again(root: Path) -> None:
    async with watching(root, file_events(force_polling=False), rescan_s=0.5) as looks:
        await looks.next()
        shutil.rmtree(root)
        await asyncio.sleep(0.1)
        root.mkdir()
        (root / "a.mp4").touch()
        await looks.until(root / "a.mp4")
