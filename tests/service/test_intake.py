"""From a file to a job, with a clock that a test moves: no early start, nothing missed."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sorawm_pipeline.config import InputConfig, PipelineConfig
from sorawm_pipeline.errors import DeviceError
from sorawm_pipeline.service import wire
from sorawm_pipeline.service.books import Books
from sorawm_pipeline.service.endings import Endings
from sorawm_pipeline.service.events import EventHub
from sorawm_pipeline.service.intake import Intake
from sorawm_pipeline.service.jobs import Job, JobState
from sorawm_pipeline.service.ledger_thread import LedgerThread
from sorawm_pipeline.service.loans import Loans
from sorawm_pipeline.service.names import reason_file
from sorawm_pipeline.service.room import Room
from sorawm_pipeline.service.scan import Scope
from sorawm_pipeline.service.shared import Shared
from sorawm_pipeline.service.signals import Bell, Gate

SETTLE_S, PATIENCE_S = 2.0, 60.0


class Eyes:
    """Stands for the inspecting process: whole is what begins with `film` and ends with `end`."""

    def __init__(self) -> None:
        self.looked: list[tuple[str, bool]] = []
        self.while_looking: Any = None
        self.error: Exception | None = None
        self.closed: set[str] = set()

    async def inspect(self, path: Path, *, last: bool) -> wire.Inspected:
        self.looked.append((path.name, last))
        if self.error is not None:
            raise self.error
        if path.name in self.closed:
            told = wire.FailureTold(kind="unreadable", message="permission denied")
            return wire.Inspected(verdict="unreadable", failure=told)
        data, status = path.read_bytes(), path.stat()
        if self.while_looking is not None:
            self.while_looking()
        kind = "no_video" if data.startswith(b"sound") else "unreadable"
        told = wire.FailureTold(kind=kind, message=f"{path.name} is cut short")
        whole = data.startswith(b"film") and data.endswith(b"end")
        return wire.Inspected(
            verdict="whole" if whole else "broken",
            opens=data.startswith((b"film", b"sound")),
            failure=None if whole else told,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            digest=hashlib.sha256(data).hexdigest(),
        )

    async def rest(self) -> None: ...


class World:
    """A folder, an intake, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "in"
        self.root.mkdir()
        self.now = 100.0
        self.stamp = 1_000_000_000_000
        self.eyes = Eyes()
        watch = InputConfig(watch=self.root, settle_s=SETTLE_S, patience_s=PATIENCE_S)
        self.config = PipelineConfig(input=watch)
        self.ledger = LedgerThread(folder / "ledger.sqlite3")
        gate = Gate(lambda _: None)
        self.bell = Bell()
        books = Books(self.ledger, gate)
        shared = Shared(
            *(books, gate, Room(gate), self.bell, EventHub(), Loans()), clock=lambda: self.now
        )
        endings = Endings(self.config, self.root, shared, lambda: False)
        scope = Scope.of(self.root, folder / "out", self.config.input.ignore, moves=False)
        inspector: Any = self.eyes
        self.intake = Intake(
            *(self.config, scope, folder / "out", inspector, shared, endings),
            clock=lambda: self.now,
        )
        self.endings = endings

    def write(self, name: str, data: bytes, *, more: bool = False) -> Path:
        """Write a file; each write has a time of its own."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if more else "wb") as file:
            file.write(data)
        self.stamp += 1_000_000
        os.utime(path, ns=(self.stamp, self.stamp))
        return path

    async def look(self, *names: str) -> None:
        """As after an event about these, or a rescan."""
        self.intake.changed([self.root / name for name in names] or [self.root])
        await self.intake.look()

    async def wait(self, seconds: float) -> None:
        """Let time pass; what settles is judged when it does."""
        until = self.now + seconds
        while (due := self.intake.admission.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            await self.intake.judge()
            await self.intake.look()
        self.now = until

    async def jobs(self) -> dict[str, JobState]:
        found = await self.ledger.call(lambda ledger: ledger.jobs(limit=1000))
        return {str(job.source.path.relative_to(self.root)): job.state for job in found}

    async def job(self, name: str) -> Job:
        found = await self.ledger.call(lambda ledger: ledger.of_source(self.root / name))
        assert found is not None
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.intake._desk.close()
    await world.endings.close()
    await world.ledger.close()


async def test_a_whole_file_is_taken_in_when_it_has_settled(world: World) -> None:
    world.write("sub/a.mp4", b"film end")
    await world.look()
    await world.wait(SETTLE_S - 0.1)
    assert await world.jobs() == {}
    assert world.eyes.looked == []
    await world.wait(0.1)
    assert await world.jobs() == {"sub/a.mp4": JobState.WAITING}
    assert (await world.job("sub/a.mp4")).output == world.root.parent / "out/sub/a.mp4"
    assert world.bell.rings == 1


async def test_a_slow_copy_with_stalls_is_not_taken_early(world: World) -> None:
    world.write("a.mp4", b"film")
    for stall in (1.0, 1.9, 5.0, 30.0):
        await world.look("a.mp4")
        await world.wait(stall)
        assert await world.jobs() == {}
        world.write("a.mp4", b" more", more=True)
    world.write("a.mp4", b" end", more=True)
    await world.look("a.mp4")
    await world.wait(SETTLE_S)
    assert await world.jobs() == {"a.mp4": JobState.WAITING}


async def test_a_stall_longer_than_patience_is_told_and_forgiven(world: World) -> None:
    path = world.write("a.mp4", b"film")
    await world.look()
    await world.wait(3 * PATIENCE_S)
    assert await world.jobs() == {"a.mp4": JobState.QUARANTINED}
    assert "cut short" in reason_file(path).read_text()
    await world.look()
    looks = len(world.eyes.looked)
    await world.wait(3 * PATIENCE_S)
    assert len(world.eyes.looked) == looks
    world.write("a.mp4", b" end", more=True)
    await world.look()
    await world.wait(SETTLE_S)
    job = await world.job("a.mp4")
    assert job.state is JobState.WAITING
    assert not reason_file(path).exists()


async def test_nothing_is_missed_without_events(world: World) -> None:
    for number in range(20):
        world.write(f"{number}.mp4", f"film {number} end".encode())
        await world.wait(0.3)
    await world.look()
    await world.wait(SETTLE_S)
    assert len(await world.jobs()) == 20


async def test_a_file_renamed_in(world: World) -> None:
    world.write("a.mp4.part", b"film end")
    await world.look()
    await world.wait(60)
    assert await world.jobs() == {}
    (world.root / "a.mp4.part").rename(world.root / "a.mp4")
    await world.look("a.mp4.part", "a.mp4")
    await world.wait(SETTLE_S)
    assert await world.jobs() == {"a.mp4": JobState.WAITING}


async def test_a_folder_moved_in(world: World, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "album" / name).write_bytes(name.encode().join([b"film", b"end"]))
    (tmp_path / "album").rename(world.root / "album")
    await world.look("album")
    await world.wait(SETTLE_S)
    assert set(await world.jobs()) == {"album/a.mp4", "album/b.mp4"}


async def test_an_overwrite_in_place_while_it_settles(world: World) -> None:
    world.write("a.mp4", b"film one end")
    await world.look()
    await world.wait(1.5)
    world.write("a.mp4", b"film two end")
    await world.look("a.mp4")
    await world.wait(1.5)
    assert await world.jobs() == {}
    await world.wait(0.5)
    digest = hashlib.sha256(b"film two end").hexdigest()
    assert (await world.job("a.mp4")).source.digest == digest


async def test_an_overwrite_in_place_of_a_waiting_job(world: World) -> None:
    world.write("a.mp4", b"film one end")
    await world.look()
    await world.wait(SETTLE_S)
    first = await world.job("a.mp4")
    world.write("a.mp4", b"film two end")
    await world.look()
    await world.wait(SETTLE_S)
    second = await world.job("a.mp4")
    assert second.id != first.id
    old = await world.ledger.call(lambda ledger: ledger.job(first.id))
    assert old is not None
    assert (old.state, second.state) == (JobState.GONE, JobState.WAITING)


async def test_a_change_during_the_look(world: World) -> None:
    world.write("a.mp4", b"film one end")
    await world.look()

    def change() -> None:
        world.eyes.while_looking = None
        world.write("a.mp4", b"film two, longer end")
        world.intake.changed([world.root / "a.mp4"])

    world.eyes.while_looking = change
    await world.wait(SETTLE_S)
    await world.look("a.mp4")
    await world.wait(SETTLE_S)
    digest = hashlib.sha256(b"film two, longer end").hexdigest()
    assert (await world.job("a.mp4")).source.digest == digest
    assert len(await world.jobs()) == 1


async def test_a_delete_in_the_middle(world: World) -> None:
    path = world.write("sub/a.mp4", b"film")
    await world.look()
    await world.wait(1.0)
    path.unlink()
    await world.look("sub/a.mp4")
    assert world.intake.admission.next_due() is None
    path = world.write("sub/a.mp4", b"film")
    await world.look()
    path.unlink()
    path.parent.rmdir()
    await world.look("sub")  # the folder is all that is told of
    assert len(world.intake.admission) == 0
    await world.wait(600)
    assert await world.jobs() == {}
    assert world.eyes.looked == []


async def test_an_unreadable_file_is_told_once_and_taken_in_later(world: World) -> None:
    world.eyes.closed.add("a.mp4")
    world.write("a.mp4", b"film end")
    with capture_logs() as lines:
        await world.look()
        for _ in range(5):
            await world.wait(60)
            await world.look()
    assert await world.jobs() == {}
    told = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert told == ["cannot be looked at"]
    assert 3 <= len(world.eyes.looked) <= 10
    world.eyes.closed.clear()
    await world.wait(3600)
    assert await world.jobs() == {"a.mp4": JobState.WAITING}


async def test_what_is_no_clip_is_looked_at_once(world: World) -> None:
    world.write("readme.txt", b"hello")
    world.write("song.m4a", b"sound")
    await world.look()
    await world.wait(10 * PATIENCE_S)
    looks = len(world.eyes.looked)
    for _ in range(5):
        await world.look()
        await world.wait(60)
    assert len(world.eyes.looked) == looks
    assert await world.jobs() == {}
    assert sorted(path.name for path in world.root.iterdir()) == ["readme.txt", "song.m4a"]
    world.write("readme.txt", b"film end")
    await world.look()
    await world.wait(SETTLE_S)
    assert await world.jobs() == {"readme.txt": JobState.WAITING}


async def test_a_clip_without_a_suffix_is_one(world: World) -> None:
    world.write("clip", b"film end")
    world.write("cut", b"film")
    await world.look()
    await world.wait(3 * PATIENCE_S)
    assert await world.jobs() == {"clip": JobState.WAITING, "cut": JobState.QUARANTINED}


async def test_a_renamed_copy_is_recognised(world: World) -> None:
    world.write("a.mp4", b"film end")
    await world.look()
    await world.wait(SETTLE_S)
    world.write("b.mp4", b"film end")
    await world.look()
    await world.wait(SETTLE_S)
    assert await world.jobs() == {"a.mp4": JobState.WAITING, "b.mp4": JobState.DUPLICATE}
    (world.root / "a.mp4").rename(world.root / "c.mp4")
    await world.look()
    await world.wait(SETTLE_S)
    assert (await world.jobs())["c.mp4"] is JobState.WAITING


async def test_a_file_that_no_process_survives_is_given_up(world: World) -> None:
    path = world.write("a.mp4", b"film end")
    world.eyes.error = DeviceError("the worker ended by signal 11", kind="crashed")
    await world.look()
    await world.wait(SETTLE_S)
    assert await world.jobs() == {}
    await world.wait(60)
    job = await world.job("a.mp4")
    assert job.state is JobState.QUARANTINED
    assert job.source.digest == hashlib.sha256(b"film end").hexdigest()
    assert "signal 11" in reason_file(path).read_text()


async def test_no_process_at_all_is_not_the_file_s_fault(world: World) -> None:
    world.write("a.mp4", b"film end")
    world.eyes.error = DeviceError("no process can be started", kind="device")
    await world.look()
    await world.wait(600)
    assert await world.jobs() == {}
    world.eyes.error = None
    await world.wait(3600)
    assert await world.jobs() == {"a.mp4": JobState.WAITING}


async def test_it_runs_by_itself(world: World) -> None:
    """The loops, with a clock that the real one drives."""
    loop = asyncio.get_running_loop()
    world.intake._clock = loop.time
    world.intake.admission.settle_s = 0.0
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(world.intake.run())
        for number in range(3):
            world.write(f"{number}.mp4", f"film {number} end".encode())
            rings = world.bell.rings
            world.intake.changed([world.root])
            await world.bell.wait(after=rings)
        running.cancel()
    assert len(await world.jobs()) == 3
