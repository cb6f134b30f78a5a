"""Workers that crash, hang, grow and chatter: each job ends, and the others never notice."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sorawm_pipeline.config import ClusterConfig
from sorawm_pipeline.errors import ConfigError, InputError, OutputError
from sorawm_pipeline.service import daemon as daemon_module
from sorawm_pipeline.service.daemon import Daemon
from sorawm_pipeline.service.events import JobProgress, WorkerChanged
from sorawm_pipeline.service.jobs import Job, JobState
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.names import REASON_SUFFIX
from sorawm_pipeline.service.slot import Slot
from tests.service.conftest import STUB, House


async def test_a_file_is_cleaned_into_the_same_place(house: House) -> None:
    house.put("sub/a.mp4", "film")
    async with house.daemon() as daemon:
        job = await house.ended("sub/a.mp4")
        assert job.state is JobState.DONE
        await house.until(lambda job: job.settled or job.state is JobState.DONE)
        full = await daemon.ledger.call(lambda ledger: ledger.job(job.id))
    assert full is not None
    assert full.report is not None
    assert json.loads(full.report)["output"] == str(house.outbox / "sub/a.mp4")
    assert house.results() == {"sub/a.mp4": "cleaned film"}


async def test_one_that_comes_later_is_noticed(house: House) -> None:
    async with house.daemon():
        house.put("b.mp4", "film")
        assert (await house.ended("b.mp4")).state is JobState.DONE


async def test_events_tell_of_workers_and_progress(house: House) -> None:
    house.put("a.mp4", "film")
    async with house.daemon():
        job = await house.ended("a.mp4")
    told = [event for event in house.seen if isinstance(event, JobProgress)]
    assert told[0].job == job.id
    assert told[0].progress.batch_caps == {"detect": 4}
    workers = [event for event in house.seen if isinstance(event, WorkerChanged)]
    assert [event.pid is None for event in workers] == [False, True]


async def test_a_crashing_clip_is_quarantined_and_the_next_one_done(house: House) -> None:
    house.put("a.mp4", "film crash")
    house.put("b.mp4", "film")
    async with house.daemon(retries=1):
        bad = await house.ended("a.mp4")
        good = await house.ended("b.mp4")
    assert (bad.state, bad.attempts, bad.failure and bad.failure.kind) == (
        *(JobState.QUARANTINED, 2, "crashed"),
    )
    assert good.state is JobState.DONE
    reason = (house.inbox / f"a.mp4{REASON_SUFFIX}").read_text()
    assert "signal 6" in reason
    assert f"jobs retry {bad.id}" in reason
    assert house.results() == {"b.mp4": "cleaned film"}
    assert not list(house.outbox.glob(".sorawm*"))


async def test_one_that_crashes_once_is_done(house: House) -> None:
    house.put("a.mp4", "film crash once")
    async with house.daemon():
        job = await house.ended("a.mp4")
    assert (job.state, job.attempts) == (JobState.DONE, 2)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("hang", "stuck"),
        ("grow", "memory"),
        ("chatter", "crashed"),
        ("long", "crashed"),
        ("fail device", "device"),
        ("fail no_video", "no_video"),
    ],
)
async def test_whatever_a_worker_does_its_job_ends(house: House, words: str, kind: str) -> None:
    house.put("a.mp4", f"film {words}")
    house.put("b.mp4", "film")
    async with house.daemon(retries=0, deadline_s=1.0, memory=150_000_000):
        bad = await house.ended("a.mp4")
        assert (await house.ended("b.mp4")).state is JobState.DONE
    assert bad.state is JobState.QUARANTINED
    assert bad.failure is not None
    assert bad.failure.kind == kind


async def test_what_cannot_be_better_the_next_time_is_not_tried_again(house: House) -> None:
    house.put("a.mp4", "film fail too_large")
    async with house.daemon(retries=5):
        assert (await house.ended("a.mp4")).attempts == 1


async def test_the_other_slots_never_notice(house: House) -> None:
    house.put("a.mp4", "film wait go")
    house.put("b.mp4", "film crash")
    async with house.daemon(workers=2, retries=0):
        waiting = await house.until(lambda job: job.state is JobState.RUNNING)
        bad = await house.ended("b.mp4")
        assert bad.state is JobState.QUARANTINED
        house.put("go", "")
        done = await house.ended("a.mp4")
    assert (done.id, done.state, done.attempts) == (waiting.id, JobState.DONE, 1)


async def test_a_file_that_kills_the_inspector_is_quarantined(house: House) -> None:
    house.put("a.mp4", "kill")
    house.put("b.mp4", "film")
    async with house.daemon(input={"settle_s": 0.0}):
        bad = await house.ended("a.mp4")
        assert (await house.ended("b.mp4")).state is JobState.DONE
    assert bad.failure is not None
    assert bad.failure.kind == "crashed"


async def test_workers_are_recycled(house: House) -> None:
    for number in range(4):
        house.put(f"{number}.mp4", f"film {number}")
    async with house.daemon(recycle_after=2):
        for number in range(4):
            await house.ended(f"{number}.mp4")
    started = [event.pid for event in house.seen if isinstance(event, WorkerChanged) and event.pid]
    assert len(set(started)) == 2


async def test_cancel_a_running_and_a_waiting_job_and_retry_one(house: House) -> None:
    house.put("a.mp4", "film slow")
    async with house.daemon() as daemon:
        running = await house.until(lambda job: job.state is JobState.RUNNING)
        house.put("b.mp4", "film")
        waiting = await house.until(lambda job: job.source.path.name == "b.mp4")
        assert (await daemon.cancel(waiting.id)).state is JobState.CANCELLED
        await daemon.cancel(running.id)
        await house.until(lambda job: job.state is JobState.CANCELLED, running.id)
        assert not list(house.outbox.rglob(".sorawm*"))
        await daemon.retry(waiting.id)
        await house.until(lambda job: job.state is JobState.DONE, waiting.id)
        with pytest.raises(LookupError):
            await daemon.cancel(99)


@pytest.mark.parametrize("step", ["_may_start", "_source_is_off", "_failed", "_interrupted"])
async def test_a_cancellation_is_never_lost(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Asked for while the slot is at something that it cannot be called off."""
    whole = getattr(Slot, step)
    slots: list[Slot] = []
    text = {"_failed": "film fail internal", "_interrupted": "film slow"}.get(step, "film")

    async def cancelled_meanwhile(slot: Slot, job: Job, *rest: Any, **more: Any) -> object:
        slots.append(slot)
        if step == "_source_is_off" and slots.count(slot) == 1:  # the one before the attempt
            return await whole(slot, job, *rest, **more)
        slot.interrupt("cancel")
        return await whole(slot, job, *rest, **more)

    monkeypatch.setattr(Slot, step, cancelled_meanwhile)
    house.put("a.mp4", text)
    async with house.daemon(workers=1, retries=3) as daemon:
        if step == "_interrupted":
            await house.until(lambda job: job.state is JobState.RUNNING)
            while daemon._slots[0].progress is None:
                await house.turn()
            daemon._slots[0].interrupt("space")
        ended = await house.ended("a.mp4")
        assert ended.state is JobState.CANCELLED
        assert slots
    assert house.results() == {}


async def test_a_job_is_cancelled_in_the_moment_that_it_is_claimed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.daemon(workers=1) as daemon:
        daemon._gate.close("test", "the test wants it")
        house.put("a.mp4", "film slow")
        admitted = await house.until(lambda job: True)
        keep = daemon._books.keep

        async def late(what: Any) -> Any:
            monkeypatch.undo()
            daemon._gate.open("test")
            await house.until(lambda job: job.state is JobState.RUNNING)
            return await keep(what)

        monkeypatch.setattr(daemon._books, "keep", late)
        await daemon.cancel(admitted.id)
        assert (await house.ended("a.mp4")).state is JobState.CANCELLED


async def test_submit_from_anywhere(house: House) -> None:
    path = house.folder / "elsewhere.mp4"
    path.write_text("film")
    broken = house.folder / "broken.mp4"
    broken.write_text("half")
    async with house.daemon() as daemon:
        job = await daemon.submit(path)
        assert job.output == house.outbox / "elsewhere.mp4"
        await house.until(lambda job: job.state is JobState.DONE, job.id)
        with pytest.raises(InputError, match="not whole"):
            await daemon.submit(broken)
        with pytest.raises(OutputError, match="result of job 1"):
            await daemon.submit(broken, house.outbox / "elsewhere.mp4")
        assert (await daemon.submit(path)).id == job.id
        assert daemon.status().slots[0].pid is not None
        assert daemon.status().watched == house.inbox.resolve()


async def test_stopping_lets_the_running_job_finish(house: House) -> None:
    house.put("a.mp4", "film wait go")
    async with house.daemon() as daemon:
        await house.until(lambda job: job.state is JobState.RUNNING)
        house.put("b.mp4", "film")
        await house.until(lambda job: job.source.path.name == "b.mp4")
        daemon.stop()
        house.put("go", "")
        done = await house.ended("a.mp4")
        assert done.state is JobState.DONE
    with Ledger(house.folder / "ledger.sqlite3") as ledger:
        assert ledger.counts()[JobState.WAITING] == 1
    assert not daemon._slots[0].interrupted


async def test_stopping_now_puts_the_running_job_back(house: House) -> None:
    house.put("a.mp4", "film slow")
    async with house.daemon() as daemon:
        await house.until(lambda job: job.state is JobState.RUNNING)
    assert daemon._slots[0].interrupted
    with Ledger(house.folder / "ledger.sqlite3") as ledger:
        (job,) = ledger.jobs()
        assert (job.state, job.attempts) == (JobState.WAITING, 0)
    assert house.results() == {}
    assert not list(house.outbox.rglob(".sorawm*"))


async def test_the_grace_period_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "GRACE_S", 0.0)
    house.put("a.mp4", "film slow")
    async with house.daemon() as daemon:
        await house.until(lambda job: job.state is JobState.RUNNING)
        daemon.stop()
        await house.until(lambda job: job.state is JobState.WAITING and bool(job.started))


async def test_a_restart_neither_repeats_nor_forgets(house: House) -> None:
    house.put("a.mp4", "film")
    async with house.daemon():
        await house.ended("a.mp4")
    before = (house.outbox / "a.mp4").stat()
    house.put("b.mp4", "film too")
    house.seen.clear()
    async with house.daemon():
        await house.ended("b.mp4")
    after = (house.outbox / "a.mp4").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [line for line in house.log() if line.startswith("clean")] == [
        *("clean 'a.mp4'", "clean 'b.mp4'"),
    ]


async def test_a_new_version_replaces_our_result_but_nothing_else(house: House) -> None:
    house.put("a.mp4", "film one")
    house.outbox.mkdir()
    (house.outbox / "b.mp4").write_text("somebody's")
    house.put("b.mp4", "film")
    async with house.daemon():
        await house.ended("a.mp4")
        skipped = await house.ended("b.mp4")
        house.put("a.mp4", "film two, longer")
        await house.until(lambda job: job.state is JobState.DONE and job.id != 1)
    assert skipped.state is JobState.SKIPPED
    assert skipped.failure is not None
    assert skipped.failure.kind == "exists"
    assert house.results() == {"a.mp4": "cleaned film two, longer", "b.mp4": "somebody's"}


async def test_what_lies_beside_a_result_comes_with_it(house: House) -> None:
    house.put("a.ts", "film leave")
    async with house.daemon():
        await house.ended("a.ts")
    assert house.results() == {"a.ts": "cleaned film leave", "a.ts.xmp": "edited"}


@pytest.mark.parametrize("after", ["move", "delete"])
async def test_where_a_source_goes(house: House, after: str) -> None:
    house.put("sub/a.mp4", "film")
    async with house.daemon(input={"after": after}) as daemon:
        job = await house.ended("sub/a.mp4")
        async with asyncio.timeout(10):
            while await daemon.ledger.call(lambda ledger: ledger.unsettled()):
                pass
    assert job.state is JobState.DONE
    assert not (house.inbox / "sub/a.mp4").exists()
    assert (house.inbox / "done/sub/a.mp4").exists() == (after == "move")
    assert [line for line in house.log() if line.startswith("clean")] == ["clean 'a.mp4'"]


async def test_a_changed_source_is_not_published(house: House) -> None:
    path = house.put("a.mp4", "film wait go")
    async with house.daemon():
        await house.until(lambda job: job.state is JobState.RUNNING)
        path.write_text("film new")
        house.put("go", "")
        await house.until(lambda job: job.state is JobState.DONE)
    assert house.results() == {"a.mp4": "cleaned film new"}


async def test_a_deleted_source_is_gone(house: House) -> None:
    path = house.put("a.mp4", "film wait go")
    async with house.daemon():
        await house.until(lambda job: job.state is JobState.RUNNING)
        path.unlink()
        house.put("go", "")
        assert (await house.ended("a.mp4")).state is JobState.GONE
    assert house.results() == {}


async def test_one_ledger_one_daemon(house: House) -> None:
    async with house.daemon():
        with pytest.raises(ConfigError, match=rf"process {os.getpid()}\)"):
            await Daemon(house.config()).run()


async def test_results_may_not_lie_over_the_inputs(house: House) -> None:
    config = house.config()
    for folder in (house.inbox, house.folder):
        with pytest.raises(ConfigError, match="choose another"):
            Daemon(config, folder)
    Daemon(config, house.inbox / "results")


async def test_reload(house: House) -> None:
    house.put("a.mp4", "film")
    async with house.daemon() as daemon:
        await house.ended("a.mp4")
        daemon.reload(house.config(retries=0, workers=3, input={"ignore": ["x*"]}))
        assert daemon.config.service.retries == 0
        assert daemon.config.service.workers == "auto"
        house.put("x.mp4", "film x")
        house.put("y.mp4", "film fail device")
        assert (await house.ended("y.mp4")).attempts == 1
        found = await daemon.ledger.call(lambda ledger: ledger.jobs())
        assert "x.mp4" not in [job.source.path.name for job in found]


def test_the_daemon_loads_no_decoder() -> None:
    code = (
        "import sys; import sorawm_pipeline.service.command; import sorawm_pipeline.service.daemon;"
        "print([name for name in ('av', 'cv2', 'numpy', 'torch', 'onnxruntime') "
        "if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    assert Path(daemon_module.__file__).exists()


async def test_the_first_process_may_be_killed_while_the_daemon_starts(house: House) -> None:
    frail = house.folder / "frail.py"
    frail.write_text(
        "import os, runpy, sys\n"
        f"marker = {str(house.folder / 'died')!r}\n"
        "if not os.path.exists(marker):\n"
        "    open(marker, 'w').close()\n"
        "    os.kill(os.getpid(), 9)\n"
        f"sys.argv[0] = {str(STUB)!r}\n"
        f"runpy.run_path({str(STUB)!r}, run_name='__main__')\n"
    )
    house.put("a.mp4", "film")
    program = (sys.executable, "-S", str(frail), str(house.folder))
    async with house.daemon(program=program):
        assert (await house.ended("a.mp4")).state is JobState.DONE
    assert (house.folder / "died").exists()


async def test_a_long_clip_gives_way_and_goes_on_where_it_was(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "TURN_S", 0.0)
    monkeypatch.setattr(daemon_module, "TICK_S", 0.02)
    house.put("long.mp4", "film pieces")
    async with house.daemon(workers=1):
        await house.until(lambda job: job.state is JobState.RUNNING)
        house.put("short.mp4", "film short")
        short = await house.ended("short.mp4")
        long = await house.ended("long.mp4")
    assert (short.state, long.state) == (JobState.DONE, JobState.DONE)
    assert long.attempts == 1
    assert "rest" in house.log()
    ended = [line for line in house.log() if line.startswith("clean")]
    assert ended == ["clean 'long.mp4'", "clean 'short.mp4'", "clean 'long.mp4'"]
    assert not list(house.outbox.glob(".sorawm*"))


async def test_a_running_clip_is_paused_and_keeps_its_pieces(house: House) -> None:
    house.put("long.mp4", "film pieces")
    async with house.daemon(workers=1) as daemon:
        running = await house.until(lambda job: job.state is JobState.RUNNING)
        while not list(house.outbox.glob(".sorawm-job-*/.sorawm-pieces/row/one")):
            await house.turn()
        paused = await daemon.pause(running.id)
        assert paused.state is JobState.PAUSED
        while daemon._slots[0].job is not None:
            await house.turn()
        assert list(house.outbox.glob(".sorawm-job-*/.sorawm-pieces/row/one"))
        assert not list(house.outbox.glob(".sorawm-job-*/.sorawm-half"))
        resumed = await daemon.resume(running.id)
        assert resumed.state is JobState.WAITING
        done = await house.ended("long.mp4")
    assert (done.state, done.attempts) == (JobState.DONE, 1)


async def test_another_process_pauses_a_running_clip(house: House) -> None:
    house.put("long.mp4", "film pieces")
    async with house.daemon(workers=1) as daemon:
        running = await house.until(lambda job: job.state is JobState.RUNNING)
        while not daemon._slots[0].in_pieces:
            await house.turn()
        with Ledger(house.folder / "ledger.sqlite3") as ledger:
            ledger.pause(running.id, 1e9)
        daemon.look_again()
        while daemon._slots[0].job is not None:
            await house.turn()
    assert [job.state for job in house.jobs()] == [JobState.PAUSED]
    assert "cancel" in house.log()


async def test_a_stop_lets_a_long_clip_rest_and_the_next_daemon_goes_on(house: House) -> None:
    house.put("long.mp4", "film pieces")
    async with house.daemon(workers=1) as daemon:
        await house.until(lambda job: job.state is JobState.RUNNING)
        while not daemon._slots[0].in_pieces:
            await house.turn()
        daemon.stop()
        while daemon._slots[0].job is not None:
            await house.turn()
    assert "rest" in house.log()
    async with house.daemon(workers=1):
        done = await house.ended("long.mp4")
    assert done.state is JobState.DONE


def test_a_cluster_that_ends_with_its_workers_is_refused(house: House) -> None:
    config = house.config().model_copy(update={"cluster": ClusterConfig(address="local")})
    with pytest.raises(ConfigError, match="start Ray and give its address"):
        Daemon(config)
