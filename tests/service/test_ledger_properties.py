"""The ledger under any calls, each cut off at any statement: nothing lost, nothing twice.

The disk is a set of files with content; a worker is a claim. A crash closes the ledger without a
word in the middle of a call and opens it again. Whatever happened: a content is done at most once,
and when everything that waits has been worked off, every file's content is done or quarantined.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sorawm_pipeline.service.jobs import Failure, Fingerprint, Job, JobState, Result, Source
from sorawm_pipeline.service.ledger import Ledger

NAMES = st.sampled_from(["a", "b", "c"])
CONTENTS = st.sampled_from(["one", "two"])
CUT = st.one_of(st.none(), st.none(), st.none(), st.integers(0, 8))
"""The statement in which the program dies; None: it does not."""

RESULT = Result(Fingerprint(1, 2), "r")
WHY = Failure("internal", "it broke")


class Died(BaseException):
    """Stands for SIGKILL: nobody catches it."""


class Mortal:
    """A connection whose owner dies at a statement."""

    def __init__(self, db: sqlite3.Connection, cut: int) -> None:
        self._db = db
        self._left = cut

    def execute(self, *words: Any) -> sqlite3.Cursor:
        if self._left == 0:
            raise Died
        self._left -= 1
        return self._db.execute(*words)

    @property
    def in_transaction(self) -> bool:
        return False  # the dead roll nothing back


class Machine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.files: dict[Path, str] = {}
        self.ever: set[str] = set()
        self.now = 0.0
        self.claims = itertools.count()
        self.running: list[Job] = []
        self.stamps = itertools.count()
        self.fingerprints: dict[Path, Fingerprint] = {}
        self.ledger = self.open()

    def open(self) -> Ledger:
        return Ledger(self.folder / "ledger.sqlite3", exists=lambda path: path in self.files)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            try:
                self.work_everything_off()
            finally:
                self.ledger.close()
                shutil.rmtree(self.folder)

    def attempt(self, cut: int | None, call: Callable[[Ledger], Any]) -> Any:
        """Make a call, or die in it and start again."""
        if cut is None:
            return call(self.ledger)
        db = self.ledger._db
        self.ledger._db = Mortal(db, cut)  # type: ignore[assignment]
        with suppress(Died):
            call(self.ledger)
        self.ledger._db = db
        self.crash()
        return None

    def crash(self) -> None:
        self.ledger.close()
        self.ledger = self.open()
        self.ledger.recover(self.now)
        self.running.clear()
        self.look_everywhere()
        self.publish_what_is_staged()

    def look_everywhere(self) -> None:
        """The rescan after a start."""
        seen = [(path, self.fingerprints[path]) for path in self.files]
        for path in self.ledger.unknown(seen):
            self.admit(path)

    def publish_what_is_staged(self) -> None:
        for job in self.ledger.unsettled():
            self.ledger.done(job.id, self.now)
            self.ledger.settle(job.id)

    def admit(self, path: Path, ledger: Ledger | None = None) -> None:
        source = Source(path, self.fingerprints[path], digest(self.files[path]))
        (ledger or self.ledger).admit(source, Path("/out") / path.name, self.now)

    @rule(name=NAMES, content=CONTENTS, cut=CUT)
    def a_file_arrives(self, name: str, content: str, cut: int | None) -> None:
        path = Path("/in") / name
        self.files[path] = content
        self.ever.add(content)
        self.fingerprints[path] = Fingerprint(len(content), next(self.stamps))
        self.attempt(cut, lambda ledger: self.admit(path, ledger))

    @rule(old=NAMES, new=NAMES, cut=CUT)
    def a_file_is_renamed(self, old: str, new: str, cut: int | None) -> None:
        before, after = Path("/in") / old, Path("/in") / new
        if before in self.files and before != after:
            self.files[after] = self.files.pop(before)
            self.fingerprints[after] = self.fingerprints[before]
            self.attempt(cut, lambda ledger: self.admit(after, ledger))

    @rule(name=NAMES)
    def a_file_is_deleted(self, name: str) -> None:
        self.files.pop(Path("/in") / name, None)

    @rule(cut=CUT)
    def a_worker_takes_a_job(self, cut: int | None) -> None:
        claim = str(next(self.claims))
        job = self.attempt(cut, lambda ledger: ledger.claim(claim, self.now))
        if job is not None:
            # What was paused and resumed meanwhile is the new worker's; the old one is stopping.
            paused = [a.outcome for a in self.ledger.attempts(job.id)].count("paused")
            others = [other.id for other in self.running].count(job.id)
            assert others <= paused
            self.running = [other for other in self.running if other.id != job.id]
            self.running.append(job)

    @precondition(lambda self: self.running)
    @rule(
        end=st.sampled_from(["done", "retry", "fail", "release"]),
        where=st.integers(0, 5),
        cut=CUT,
        second=CUT,
    )
    def a_worker_ends(self, end: str, where: int, cut: int | None, second: int | None) -> None:
        job = self.running.pop(where % len(self.running))
        if job.source.path not in self.files:
            self.attempt(cut, lambda ledger: ledger.gone(job.id, self.now))
            return
        match end:
            case "done":
                self.attempt(cut, lambda ledger: ledger.staged(job.id, RESULT, "{}"))
                if cut is None:
                    self.attempt(second, lambda ledger: ledger.done(job.id, self.now))
                    if second is None:
                        self.ledger.settle(job.id)
            case "retry":
                at = self.now + 3
                self.attempt(cut, lambda ledger: ledger.fail(job.id, WHY, self.now, at))
            case "fail":
                self.attempt(cut, lambda ledger: ledger.fail(job.id, WHY, self.now, None))
            case _:
                self.attempt(cut, lambda ledger: ledger.release(job.id, self.now, self.now + 1))

    @rule(cut=CUT, where=st.integers(0, 5))
    def a_job_is_paused(self, cut: int | None, where: int) -> None:
        jobs = self.ledger.jobs([JobState.WAITING, JobState.RUNNING, JobState.STAGED])
        if jobs:
            number = jobs[where % len(jobs)].id
            self.attempt(cut, lambda ledger: ledger.pause(number, self.now))

    @rule(cut=CUT)
    def a_paused_job_is_resumed(self, cut: int | None) -> None:
        jobs = self.ledger.jobs([JobState.PAUSED])
        if jobs:
            self.attempt(cut, lambda ledger: ledger.resume(jobs[0].id))

    @rule(cut=CUT)
    def a_quarantined_job_is_retried(self, cut: int | None) -> None:
        jobs = self.ledger.jobs([JobState.QUARANTINED])
        if jobs:
            self.attempt(cut, lambda ledger: ledger.retry(jobs[0].id))

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def the_daemon_dies(self) -> None:
        self.crash()

    @invariant()
    def nothing_is_done_twice(self) -> None:
        if not hasattr(self, "ledger"):
            return
        done = Counter[str]()
        for job in self.ledger.jobs(limit=10_000):
            outcomes = [attempt.outcome for attempt in self.ledger.attempts(job.id)]
            done[job.source.digest] += outcomes.count("done")
            assert outcomes.count("running") == (job.state in (JobState.RUNNING, JobState.STAGED))
        assert all(count <= 1 for count in done.values()), done

    def work_everything_off(self) -> None:
        """A last start, and workers that succeed while the file is there."""
        self.crash()
        self.now += 100
        for paused in self.ledger.jobs([JobState.PAUSED], limit=10_000):
            self.ledger.resume(paused.id)
        while (job := self.ledger.claim(str(next(self.claims)), self.now)) is not None:
            if self.files.get(job.source.path) is None:
                self.ledger.gone(job.id, self.now)
                continue
            assert digest(self.files[job.source.path]) == job.source.digest
            self.ledger.staged(job.id, RESULT, "{}")
            self.ledger.done(job.id, self.now)
            self.ledger.settle(job.id)
        self.nothing_is_done_twice()
        ended = {
            job.source.digest
            for job in self.ledger.jobs([JobState.DONE, JobState.QUARANTINED], limit=10_000)
        }
        assert {digest(content) for content in self.files.values()} <= ended


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


TestLedger = Machine.TestCase
TestLedger.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
