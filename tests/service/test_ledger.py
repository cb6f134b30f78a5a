"""The ledger: what a file becomes, and that nothing is lost or done twice whatever is cut off."""

from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.service import schema
from sorawm_pipeline.service.jobs import (
    Failure,
    Fingerprint,
    Job,
    JobState,
    Result,
    Source,
    Verdict,
)
from sorawm_pipeline.service.ledger import PATIENT_INTERRUPTIONS, Ledger

RESULT = Result(Fingerprint(5, 6), "r" * 64)
WHY = Failure("internal", "it broke", "detect")


class Shelf:
    """A ledger and the files that exist."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite3"
        self.files: set[Path] = set()
        self.claims = itertools.count()
        self.ledger = self.open()

    def open(self) -> Ledger:
        return Ledger(self.path, exists=lambda path: path in self.files)

    def put(self, name: str, content: str = "", mtime: int = 1) -> Source:
        path = Path("/in") / name
        self.files.add(path)
        digest = hashlib.sha256(os.fsencode(content or name)).hexdigest()
        return Source(path, Fingerprint(len(content), mtime), digest)

    def admit(self, name: str, content: str = "", mtime: int = 1) -> tuple[int, Verdict]:
        admitted = self.ledger.admit(self.put(name, content, mtime), Path("/out") / name, 10.0)
        return admitted.job.id, admitted.verdict

    def state(self, number: int) -> JobState:
        job = self.ledger.job(number)
        assert job is not None
        return job.state

    def run(self) -> int:
        job = self.ledger.claim(f"claim {next(self.claims)}", 20.0)
        assert job is not None
        return job.id

    def finish(self) -> int:
        number = self.run()
        self.ledger.staged(number, RESULT, "{}")
        self.ledger.done(number, 30.0)
        self.ledger.settle(number)
        return number


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_job_from_waiting_to_done(shelf: Shelf) -> None:
    number, verdict = shelf.admit("a.mp4")
    assert (verdict, shelf.state(number)) == (Verdict.NEW, JobState.WAITING)
    job = shelf.ledger.claim("c", 20.0)
    assert job is not None
    assert (job.id, job.state, job.attempts, job.started) == (number, JobState.RUNNING, 1, 20.0)
    shelf.ledger.staged(number, RESULT, '{"frames": 3}')
    assert [job.id for job in shelf.ledger.unsettled()] == [number]
    done = shelf.ledger.done(number, 30.0)
    assert (done.state, done.ended, done.settled, done.result) == (
        *(JobState.DONE, 30.0, False, RESULT),
    )
    assert [job.id for job in shelf.ledger.unsettled()] == [number]
    shelf.ledger.settle(number)
    assert shelf.ledger.unsettled() == []
    full = shelf.ledger.job(number)
    assert full is not None
    assert full.report == '{"frames": 3}'
    (attempt,) = shelf.ledger.attempts(number)
    assert (attempt.number, attempt.started, attempt.ended, attempt.outcome) == (
        *(1, 20.0, 30.0, "done"),
    )


def test_it_is_all_there_after_a_restart(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.finish()
    before = shelf.ledger.job(number)
    shelf.ledger.close()
    assert shelf.open().job(number) == before


def test_a_known_file_is_not_read_again(shelf: Shelf) -> None:
    source = shelf.put("a.mp4")
    assert shelf.ledger.unknown([(source.path, source.fingerprint)]) == [source.path]
    shelf.admit("a.mp4")
    assert shelf.ledger.unknown([(source.path, source.fingerprint)]) == []
    assert shelf.ledger.unknown([(source.path, Fingerprint(0, 2))]) == [source.path]


def test_a_touched_file_is_known(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.finish()
    assert shelf.admit("a.mp4", mtime=2) == (number, Verdict.KNOWN)
    touched = shelf.put("a.mp4", mtime=2)
    assert shelf.ledger.unknown([(touched.path, touched.fingerprint)]) == []


def test_a_copy_is_a_duplicate(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4", "film")
    other, verdict = shelf.admit("b.mp4", "film")
    assert verdict == Verdict.DUPLICATE
    job = shelf.ledger.job(other)
    assert job is not None
    assert job.same_as == number
    shelf.finish()
    assert shelf.ledger.claim("x", 99.0) is None
    assert shelf.admit("c.mp4", "film")[1] == Verdict.DUPLICATE


def test_a_file_renamed_while_it_waits_keeps_its_job(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4", "film")
    shelf.files.clear()
    assert shelf.admit("b.mp4", "film") == (number, Verdict.RENAMED)
    job = shelf.ledger.job(number)
    assert job is not None
    assert (job.source.path, job.output) == (Path("/in/b.mp4"), Path("/out/b.mp4"))


def test_a_file_renamed_while_it_runs_goes_on_under_the_new_name(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4", "film")
    shelf.run()
    shelf.files.clear()
    other, verdict = shelf.admit("b.mp4", "film")
    third, _ = shelf.admit("c.mp4", "film")
    assert verdict == Verdict.DUPLICATE
    shelf.ledger.gone(number, 25.0)
    assert (shelf.state(number), shelf.state(other)) == (JobState.GONE, JobState.WAITING)
    job = shelf.ledger.job(third)
    assert job is not None
    assert job.same_as == other


def test_a_file_that_comes_back_waits_again(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.ledger.gone(number, 15.0)
    source = shelf.put("a.mp4")
    assert shelf.ledger.unknown([(source.path, source.fingerprint)]) == [source.path]
    assert shelf.admit("a.mp4") == (number, Verdict.RETURNED)
    assert shelf.state(number) == JobState.WAITING


def test_a_file_that_comes_back_when_a_copy_has_been_done_is_a_duplicate(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4", "film")
    copy, _ = shelf.admit("b.mp4", "film")
    shelf.ledger.gone(number, 15.0)
    assert shelf.finish() == copy
    assert shelf.admit("a.mp4", "film") == (number, Verdict.DUPLICATE)
    assert shelf.ledger.claim("x", 20.0) is None


def test_other_content_under_the_same_name_is_another_job(shelf: Shelf) -> None:
    first, _ = shelf.admit("a.mp4", "one")
    shelf.finish()
    second, verdict = shelf.admit("a.mp4", "two")
    assert verdict == Verdict.NEW
    assert second != first
    assert shelf.finish() == second
    assert shelf.ledger.is_ours(Path("/out/a.mp4"), RESULT.fingerprint)
    assert not shelf.ledger.is_ours(Path("/out/a.mp4"), Fingerprint(5, 7))
    assert not shelf.ledger.is_ours(Path("/out/b.mp4"), RESULT.fingerprint)


@pytest.mark.parametrize("end", ["release", "recover", "fail"])
def test_a_running_job_whose_file_was_overwritten_does_not_come_back(
    shelf: Shelf, end: str
) -> None:
    first, _ = shelf.admit("a.mp4", "one")
    shelf.run()
    second, _ = shelf.admit("a.mp4", "two")
    match end:
        case "release":
            shelf.ledger.release(first, 30.0)
        case "recover":
            shelf.ledger.recover(30.0)
        case "fail":
            shelf.ledger.fail(first, WHY, 30.0, retry_at=40.0)
    assert shelf.state(first) == JobState.GONE
    assert shelf.run() == second


def test_failures_are_tried_again_then_quarantined(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.run()
    assert shelf.ledger.fail(number, WHY, 30.0, retry_at=50.0).state == JobState.WAITING
    assert shelf.ledger.claim("x", 49.0) is None
    assert shelf.ledger.next_due() == 50.0
    job = shelf.ledger.claim("y", 50.0)
    assert job is not None
    assert job.attempts == 2
    failed = shelf.ledger.fail(number, WHY, 60.0, retry_at=None)
    assert (failed.state, failed.failure) == (JobState.QUARANTINED, WHY)
    assert shelf.ledger.failures() == {"internal": 1}
    assert [a.outcome for a in shelf.ledger.attempts(number)] == ["failed", "failed"]
    assert shelf.ledger.retry(number).state == JobState.WAITING
    assert shelf.finish() == number
    done = shelf.ledger.job(number)
    assert done is not None
    assert done.failure is None


def test_a_rejected_file_is_quarantined_at_once(shelf: Shelf) -> None:
    source = shelf.put("a.mp4")
    job = shelf.ledger.reject(source, Path("/out/a.mp4"), WHY, 10.0)
    assert (job.state, job.failure) == (JobState.QUARANTINED, WHY)
    assert shelf.ledger.reject(source, Path("/out/a.mp4"), WHY, 11.0).id == job.id
    copy = shelf.ledger.reject(
        Source(Path("/in/b.mp4"), source.fingerprint, source.digest), Path("/out/b.mp4"), WHY, 12.0
    )
    assert (copy.state, copy.failure, copy.same_as) == (JobState.QUARANTINED, WHY, job.id)


def test_copies_share_the_quarantine(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4", "same")
    earlier, verdict = shelf.admit("earlier.mp4", "same")
    assert verdict is Verdict.DUPLICATE
    shelf.run()
    shelf.ledger.fail(number, WHY, 30.0, retry_at=None)
    later, verdict = shelf.admit("later.mp4", "same")
    assert verdict is Verdict.DUPLICATE
    assert {job.id for job in shelf.ledger.unsettled()} == {number, earlier, later}
    for copy in map(shelf.ledger.job, (earlier, later)):
        assert copy is not None
        assert (copy.state, copy.failure, copy.attempts) == (JobState.QUARANTINED, WHY, 0)
    assert shelf.ledger.retry(later).state == JobState.WAITING
    assert shelf.finish() == later
    assert shelf.state(earlier) == JobState.QUARANTINED


def test_a_release_does_not_count_as_an_attempt(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.run()
    assert shelf.ledger.release(number, 25.0, not_before=60.0).attempts == 0
    assert shelf.ledger.claim("x", 59.0) is None
    assert [a.outcome for a in shelf.ledger.attempts(number)] == ["released"]


def test_what_ran_when_the_daemon_died_waits_again(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.run()
    shelf.ledger.close()
    ledger = shelf.ledger = shelf.open()
    (job,) = ledger.recover(40.0)
    assert (job.id, job.state, job.attempts, job.interruptions) == (
        *(number, JobState.WAITING, 0, 1),
    )
    assert ledger.recover(41.0) == []
    assert [a.outcome for a in ledger.attempts(number)] == ["interrupted"]


def test_a_job_that_always_kills_the_daemon_does_not_stop_the_others(shelf: Shelf) -> None:
    killer, _ = shelf.admit("killer.mp4")
    other, _ = shelf.admit("other.mp4")
    for _ in range(PATIENT_INTERRUPTIONS):
        assert shelf.run() == killer
        shelf.ledger.recover(40.0)
    assert shelf.run() == other


def test_a_claim_repeated_after_an_error_is_the_same_job(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.admit("b.mp4")
    for _ in range(2):
        job = shelf.ledger.claim("same", 20.0)
        assert job is not None
        assert job.id == number
    assert len(shelf.ledger.attempts(number)) == 1


def test_what_has_ended_is_not_moved_by_a_late_call(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.finish()
    calls: tuple[Callable[[], Job], ...] = (
        lambda: shelf.ledger.fail(number, WHY, 50.0, retry_at=60.0),
        lambda: shelf.ledger.release(number, 50.0),
        lambda: shelf.ledger.gone(number, 50.0),
        lambda: shelf.ledger.cancel(number, 50.0),
        lambda: shelf.ledger.skip(number, WHY, 50.0),
        lambda: shelf.ledger.retry(number),
        lambda: shelf.ledger.done(number, 50.0),
    )
    for call in calls:
        assert call().state == JobState.DONE
    assert [a.outcome for a in shelf.ledger.attempts(number)] == ["done"]


def test_forgetting_makes_a_file_new_and_a_duplicate_a_job(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4", "film")
    copy, _ = shelf.admit("b.mp4", "film")
    shelf.run()
    assert not shelf.ledger.forget(number)
    shelf.ledger.cancel(number, 30.0)
    assert shelf.ledger.forget(number)
    assert shelf.ledger.job(number) is None
    assert shelf.state(copy) == JobState.WAITING
    assert shelf.admit("a.mp4", "other")[0] > copy
    with pytest.raises(LookupError, match="no job 99"):
        shelf.ledger.forget(99)


def test_lists_and_counts(shelf: Shelf) -> None:
    numbers = [shelf.admit(f"{n}.mp4")[0] for n in range(5)]
    shelf.finish()
    ledger = shelf.ledger
    assert [job.id for job in ledger.jobs(limit=2)] == numbers[:2:-1]
    assert [job.id for job in ledger.jobs(before=numbers[1])] == numbers[:1]
    assert [job.id for job in ledger.jobs([JobState.DONE])] == numbers[:1]
    counts = ledger.counts()
    assert set(counts) == set(JobState)
    assert (counts[JobState.DONE], counts[JobState.WAITING], counts[JobState.GONE]) == (1, 4, 0)


def test_names_of_any_bytes(shelf: Shelf) -> None:
    name = b"\xff\n'\"; DROP TABLE jobs; --.mp4".decode("utf-8", "surrogateescape")
    number, _ = shelf.admit(name)
    failed = Failure("unreadable", f"{name} is damaged")
    shelf.run()
    job = shelf.ledger.fail(number, failed, 30.0, None)
    assert job.source.path == Path("/in") / name
    assert job.failure is not None
    assert job.failure.message.startswith("\\xff\n'")


def test_a_ledger_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(schema.VERSIONS) + 1}")
    db.close()
    with pytest.raises(ConfigError, match="newer version"):
        Ledger(path)


def test_a_full_disk_leaves_the_ledger_as_it_was(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.run()
    (pages,) = shelf.ledger._db.execute("PRAGMA page_count").fetchone()
    shelf.ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        shelf.ledger.staged(number, RESULT, "x" * 1_000_000)
    assert shelf.state(number) == JobState.RUNNING
    shelf.ledger._db.execute("PRAGMA max_page_count = 100000")
    shelf.ledger.staged(number, RESULT, "x" * 1_000_000)
    assert shelf.state(number) == JobState.STAGED


def test_a_waiting_job_is_paused_and_resumed(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    assert shelf.ledger.pause(number, 15.0).state is JobState.PAUSED
    assert shelf.ledger.claim("c", 20.0) is None
    assert shelf.ledger.recover(21.0) == []
    assert shelf.ledger.resume(number).state is JobState.WAITING
    assert shelf.run() == number


def test_pausing_a_running_job_costs_no_attempt(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.run()
    paused = shelf.ledger.pause(number, 50.0)
    assert (paused.state, paused.attempts) == (JobState.PAUSED, 0)
    # Whoever was at work on it may come late with anything: it stays paused.
    shelf.ledger.staged(number, RESULT, "{}")
    shelf.ledger.done(number, 51.0)
    shelf.ledger.fail(number, WHY, 52.0, None)
    shelf.ledger.release(number, 53.0)
    assert shelf.state(number) is JobState.PAUSED
    assert [attempt.outcome for attempt in shelf.ledger.attempts(number)] == ["paused"]


def test_only_what_is_not_finished_is_paused_and_only_that_is_resumed(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.finish()
    assert shelf.ledger.pause(number, 50.0).state is JobState.DONE
    assert shelf.ledger.resume(number).state is JobState.DONE


def test_a_paused_job_is_cancelled(shelf: Shelf) -> None:
    number, _ = shelf.admit("a.mp4")
    shelf.ledger.pause(number, 15.0)
    assert shelf.ledger.cancel(number, 16.0, only_waiting=True).state is JobState.CANCELLED
    assert [job.id for job in shelf.ledger.unsettled()] == [number]  # its pieces are to go


def test_one_that_rests_gives_way_to_those_that_came_meanwhile(shelf: Shelf) -> None:
    long, _ = shelf.admit("long.mp4")
    assert shelf.run() == long
    assert not shelf.ledger.gives_way(long, 300.0)
    short = shelf.ledger.admit(shelf.put("short.mp4"), Path("/out/short.mp4"), 100.0).job.id
    assert shelf.ledger.gives_way(long, 300.0)
    shelf.ledger.release(long, 300.0)
    later = shelf.ledger.admit(shelf.put("later.mp4"), Path("/out/later.mp4"), 301.0).job.id
    assert [shelf.run(), shelf.run(), shelf.run()] == [short, long, later]


def test_one_that_waits_for_its_next_attempt_needs_no_way(shelf: Shelf) -> None:
    long, _ = shelf.admit("long.mp4")
    other, _ = shelf.admit("other.mp4")
    shelf.run()
    assert shelf.run() == other
    shelf.ledger.fail(other, WHY, 25.0, 1000.0)
    assert not shelf.ledger.gives_way(long, 500.0)
    assert shelf.ledger.gives_way(long, 1500.0)


def test_a_ledger_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite3"
    db = sqlite3.connect(path)
    for statement in schema.VERSIONS[0].split(";"):
        db.execute(statement)
    db.execute("PRAGMA user_version = 1")
    db.execute(
        "INSERT INTO jobs (token, state, path, size, mtime_ns, digest, output, overwrite, created)"
        " VALUES ('t', 'waiting', CAST('/in/a' AS BLOB), 1, 1, 'd', CAST('/out/a' AS BLOB), 0, 5.0)"
    )
    db.commit()
    db.close()
    with Ledger(path) as ledger:
        job = ledger.claim("c", 20.0)
    assert job is not None
    assert job.source.path == Path("/in/a")
