"""A full disk holds the queue, and lets it go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorawm_pipeline.service import room as room_module
from sorawm_pipeline.service import space
from sorawm_pipeline.service.jobs import JobState
from sorawm_pipeline.service.room import Room
from sorawm_pipeline.service.signals import Gate
from tests.service.conftest import House

OUT = Path("/out")


class Disk:
    def __init__(self) -> None:
        self.free = 100
        self.now = 0.0
        self.told: list[str | None] = []
        self.gate = Gate(self.told.append)
        self.room = Room(self.gate, lambda _: self.free, lambda: self.now)


def test_the_gate_opens_when_there_is_room() -> None:
    disk = Disk()
    assert disk.room.enough(OUT, 100)
    assert not disk.room.enough(OUT, 101)
    disk.room.wait_for(OUT, 200)
    disk.room.look()
    assert disk.gate.reason == "the disk of /out is full: less than 0 MB are free"
    disk.free = 200
    disk.room.look()
    assert disk.gate.reason is None
    assert [told is None for told in disk.told] == [False, True]


def test_it_is_tried_again_after_a_while_in_any_case() -> None:
    disk = Disk()
    disk.room.wait_for(OUT, 200)
    disk.now = room_module.LONGEST_S + 1
    disk.room.look()
    assert disk.gate.reason is None


def test_a_disk_that_does_not_answer_is_not_full() -> None:
    def free(_: Path) -> int:
        raise OSError(5, "Input/output error")

    assert Room(Gate(lambda _: None), free).enough(OUT, 1 << 40)


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert space.free_bytes(tmp_path / "a/b/c") == pytest.approx(
        space.free_bytes(tmp_path), rel=0.2
    )


async def test_a_full_disk_pauses_the_queue_and_fails_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10]
    monkeypatch.setattr("sorawm_pipeline.service.daemon.TICK_S", 0.01)
    monkeypatch.setattr("sorawm_pipeline.service.room.space.free_bytes", lambda _: free[0])
    monkeypatch.setattr(Room.__init__, "__defaults__", (lambda _: free[0], lambda: 0.0))
    house.put("a.mp4", "film wait go")
    async with house.daemon(min_free=100) as daemon:
        await house.until(lambda job: job.state is JobState.WAITING and job.started is not None)
        assert "disk" in daemon.status().paused
        free[0] = 1000
        running = await house.until(lambda job: job.state is JobState.RUNNING and free[0] == 1000)
        while not house.progress_of(running.id):
            await house.turn()
        position = len(house.seen)
        free[0] = 40  # less than half: a running job is stopped, and put back
        await house.until(lambda job: job.state is JobState.WAITING, after=position)
        assert not list(house.outbox.rglob(".sorawm*"))
        free[0] = 1000
        house.put("go", "")
        done = await house.until(lambda job: job.state is JobState.DONE)
    assert done.attempts == 1
    assert daemon.status().paused == {}


async def test_a_write_that_found_no_room_is_not_the_clip_s_fault(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sorawm_pipeline.service.daemon.TICK_S", 0.01)
    monkeypatch.setattr(room_module, "LONGEST_S", 0.05)
    house.put("a.mp4", "film fail no_space")
    async with house.daemon(retries=0):
        for _ in range(3):  # again and again, never quarantined
            position = len(house.seen)
            await house.until(lambda job: job.state is JobState.RUNNING, after=position)
    assert [job.state for job in house.jobs()] == [JobState.WAITING]
