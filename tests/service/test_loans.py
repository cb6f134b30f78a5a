"""Slots without a job do pieces of another one's long clip, until there is one of their own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.service.jobs import JobState
from sorawm_pipeline.service.worker import PROGRAM
from tests.clips import pictures
from tests.segments.test_hands import two
from tests.segments.test_pieces import CLIP
from tests.service.conftest import House


async def test_an_idle_slot_does_pieces_of_anothers_clip(house: House) -> None:
    house.put("long.mp4", "film share well")
    async with house.daemon(workers=2):
        ended = await house.ended("long.mp4")
    assert ended.state is JobState.DONE
    assert house.log().count("piece 'long.mp4'") == 3
    assert house.log().count('given {"outcome": "done"}') == 3


async def test_a_job_of_its_own_comes_first(house: House) -> None:
    house.put("long.mp4", "film share endless")
    async with house.daemon(workers=2) as daemon:
        while "piece 'long.mp4'" not in house.log():
            await house.turn()
        (helping,) = (slot for slot in daemon.status().slots if slot.helps is not None)
        house.put("short.mp4", "film")
        assert (await house.ended("short.mp4")).state is JobState.DONE
        assert "recall" in house.log()
        (long,) = (slot for slot in daemon.status().slots if slot.job == helping.helps)
        assert long.slot != helping.slot


async def test_a_helping_worker_that_dies_is_replaced(house: House) -> None:
    house.put("long.mp4", "film share crash")
    async with house.daemon(workers=2):
        assert (await house.ended("long.mp4")).state is JobState.DONE
        house.put("next.mp4", "film")
        assert (await house.ended("next.mp4")).state is JobState.DONE
    assert house.log().count("given None") == 1


async def test_when_the_clip_is_cancelled_its_pieces_are_too(house: House) -> None:
    house.put("long.mp4", "film share slow")
    async with house.daemon(workers=2) as daemon:
        job = await house.until(lambda job: job.state is JobState.RUNNING)
        while "piece 'long.mp4'" not in house.log():
            await house.turn()
        await daemon.cancel(job.id)
        assert (await house.ended("long.mp4")).state is JobState.CANCELLED
    assert "piece cancelled" in house.log()
    assert sum(line.startswith("started") for line in house.log()) == 3  # none was killed


async def test_when_the_clips_worker_dies_its_pieces_are_given_up(house: House) -> None:
    house.put("long.mp4", "film share fatal")
    async with house.daemon(workers=2, retries=0):
        assert (await house.ended("long.mp4")).state is JobState.QUARANTINED
        while "piece cancelled" not in house.log():
            await house.turn()
        house.put("next.mp4", "film")
        assert (await house.ended("next.mp4")).state is JobState.DONE


async def test_orders_name_nothing_but_the_jobs_own_files(house: House) -> None:
    house.put("long.mp4", "film share foreign")
    async with house.daemon(workers=2):
        assert (await house.ended("long.mp4")).state is JobState.DONE
    assert "given None" in house.log()
    assert "piece 'long.mp4'" not in house.log()


@pytest.mark.slow
async def test_two_real_workers_make_what_one_makes(house: House, tmp_path: Path) -> None:
    wanted = two(pieces={"from_s": 0, "length_s": 1}).model_dump(mode="json", exclude_unset=True)
    source = replace(CLIP, frames=1500).write(tmp_path / "in.mkv")
    whole = PipelineConfig.model_validate({**wanted, "pieces": {"length_s": 0}})
    await Pipeline(whole).process(source, tmp_path / "one.mkv")
    async with house.daemon(program=PROGRAM, workers=2, more=wanted) as daemon:
        for name, frames in (("a.mkv", 8), ("b.mkv", 9)):  # until both workers have started
            replace(CLIP, frames=frames).write(tmp_path / name)
            (house.inbox / name).hardlink_to(tmp_path / name)
        for name in ("a.mkv", "b.mkv"):
            assert (await house.ended(name)).state is JobState.DONE
        assert all(slot.pid is not None for slot in daemon.status().slots)
        (house.inbox / "in.mkv").hardlink_to(source)
        helped = False
        ended = asyncio.create_task(house.ended("in.mkv"))
        while not ended.done():
            helped |= any(slot.helps is not None for slot in daemon.status().slots)
            await house.turn()
        assert ended.result().state is JobState.DONE
    assert helped
    for there, here in zip(
        pictures(tmp_path / "one.mkv"), pictures(house.outbox / "in.mkv"), strict=True
    ):
        assert all(np.array_equal(*planes) for planes in zip(there, here, strict=True))
