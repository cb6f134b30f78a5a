"""The ledger: every job, on disk before anything depends on it.

A method is one transaction, and is written so that calling it again after an error whose outcome is
unknown (a full disk, a killed process) does no harm: it moves a job only from the states it names.
A `Ledger` belongs to one thread; `ledger_thread` calls it from an event loop. Other processes may
read and `retry`, `cancel`, `forget` at the same time.

Content is known by its SHA-256. Reading a file once is little beside cleaning it, and anything less
takes two files for one sooner or later. Size and modification time only spare reading again what
was read before.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sorawm_pipeline.report import readable
from sorawm_pipeline.service import rows, schema
from sorawm_pipeline.service.jobs import (
    QUEUED,
    RETRYABLE,
    UNDER_WAY,
    Admitted,
    Attempt,
    Failure,
    Fingerprint,
    Job,
    JobState,
    Result,
    Source,
    Verdict,
)

BUSY_S = 10.0
"""How long a write waits for another process's."""

COLUMNS = ", ".join(
    (
        *("id", "token", "state", "path", "size", "mtime_ns", "digest", "output", "overwrite"),
        *("attempts", "interruptions", "not_before", "kind", "stage", "message", "same_as"),
        *("result_size", "result_mtime_ns", "result_digest", "settled"),
        *("created", "started", "ended"),
    )
)
"""All that a list of jobs needs: not the reports, which are long."""

PATIENT_INTERRUPTIONS = 3
"""Jobs that the daemon died under this often wait behind the others, lest one stops all."""


class Ledger:
    """Opened by its constructor, which brings an older one up to date; WAL, `synchronous=FULL`.

    Args:
        path: of the SQLite file; its folder is made.
        exists: tells whether a file is still there.

    Raises:
        ConfigError: a newer program wrote it.
        sqlite3.Error: the disk refuses, here and in every method.
    """

    def __init__(self, path: Path, exists: Callable[[Path], bool] = os.path.lexists) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._exists = exists
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            schema.migrate(self._db, str(path))
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    # what a file becomes

    def unknown(self, seen: Iterable[tuple[Path, Fingerprint]]) -> list[Path]:
        """Those files that have no job, or changed since; a job that was gone does not count."""
        found = []
        for path, fingerprint in seen:
            row = self._db.execute(
                "SELECT state, size, mtime_ns FROM jobs WHERE path = ? AND current",
                (os.fsencode(path),),
            ).fetchone()
            if row is None or row["state"] == JobState.GONE or rows.fingerprint(row) != fingerprint:
                found.append(path)
        return found

    def admit(
        self, source: Source, output: Path, now: float, *, overwrite: bool = False
    ) -> Admitted:
        """Take a file in; tells what it is to the ledger. A new version of a file is a new job.

        Content that another job has, or has had, is a duplicate of that, and quarantined if that
        is; but if that job waits and its file is gone, the file was renamed and the job goes on
        under the new name.
        """
        with self._transaction():
            here = self._row("path = ? AND current", os.fsencode(source.path))
            if here is not None and here["digest"] == source.digest:
                return self._meet_again(here, source)
            if here is not None:
                self._supersede(here, now)
            twin = self._twin(source)
            waits = twin is not None and twin["state"] == JobState.WAITING
            if twin is not None and waits and not self._exists(rows.path(twin["path"])):
                self._set(twin, path=os.fsencode(source.path), output=os.fsencode(output))
                self._look(twin, source.fingerprint)
                return self._admitted(twin["id"], Verdict.RENAMED)
            row = self._db.execute(
                "INSERT INTO jobs (token, state, path, size, mtime_ns, digest, output, overwrite,"
                " created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    *(secrets.token_hex(8), JobState.WAITING, os.fsencode(source.path)),
                    *(source.fingerprint.size, source.fingerprint.mtime_ns, source.digest),
                    *(os.fsencode(output), overwrite, now),
                ),
            ).fetchone()
            if twin is None:
                return self._admitted(row["id"], Verdict.NEW)
            return self._admit_copy(row, twin)

    def reject(self, source: Source, output: Path, failure: Failure, now: float) -> Job:
        """Take in a file that cannot be cleaned, as quarantined."""
        job = self.admit(source, output, now).job
        with self._transaction():
            values = {"ended": now, "settled": 0}
            if self._move(job.id, (JobState.WAITING,), JobState.QUARANTINED, **values):
                self._blame(job.id, failure)
                self._quarantine_copies(job.id)
        return self._job(job.id)

    # what a job goes through

    def claim(self, claim: str, now: float) -> Job | None:
        """The next job, now running; None if none may run yet.

        Jobs come by when they were admitted, later by as long as they have been worked on: so one
        that rests gives way to those that came meanwhile, and not to those that come later.

        Args:
            claim: unique to this call; repeating it after an error gives the same job.
            now: seconds since the epoch, as everywhere here.
        """
        with self._transaction():
            row = self._row("claim = ? AND state = ?", claim, JobState.RUNNING)
            if row is not None:
                return rows.job(row)
            row = self._db.execute(
                "UPDATE jobs SET state = ?, claim = ?, attempts = attempts + 1, started = ?,"
                " ended = NULL WHERE id = (SELECT id FROM jobs WHERE state = ? AND not_before <= ?"
                " ORDER BY interruptions / ?, created + served, id LIMIT 1) RETURNING *",
                (JobState.RUNNING, claim, now, JobState.WAITING, now, PATIENT_INTERRUPTIONS),
            ).fetchone()
            if row is None:
                return None
            self._db.execute(
                "INSERT INTO attempts (job, number, started, outcome)"
                " SELECT ?, 1 + coalesce(max(number), 0), ?, 'running' FROM attempts WHERE job = ?",
                (row["id"], now, row["id"]),
            )
            return rows.job(row)

    def staged(self, number: int, result: Result, report: str) -> None:
        """The result lies whole in the job's staging folder."""
        with self._transaction():
            self._move(
                number,
                (JobState.RUNNING, JobState.STAGED),
                JobState.STAGED,
                result_size=result.fingerprint.size,
                result_mtime_ns=result.fingerprint.mtime_ns,
                result_digest=result.digest,
                report=report,
            )

    def done(self, number: int, now: float) -> Job:
        """The result has its name. `settle` is still to come."""
        with self._transaction():
            values = {"ended": now, "settled": 0, "kind": None, "stage": None, "message": None}
            if self._move(number, (JobState.STAGED,), JobState.DONE, **values):
                self._end_attempt(number, "done", now)
        return self._job(number)

    def settle(self, number: int) -> None:
        """Nothing is left to be done for this job, which has ended."""
        with self._transaction():
            self._db.execute("UPDATE jobs SET settled = 1 WHERE id = ?", (number,))

    def fail(self, number: int, failure: Failure, now: float, retry_at: float | None) -> Job:
        """An attempt failed: to be tried again from `retry_at`, or quarantined if that is None."""
        state = JobState.QUARANTINED if retry_at is None else JobState.WAITING
        values = {"ended": now, "not_before": retry_at or 0.0, "settled": retry_at is not None}
        with self._transaction():
            if self._move(number, UNDER_WAY, state, **values):
                self._blame(number, failure)
                self._end_attempt(number, "failed", now, failure)
                self._quarantine_copies(number)
        return self._job(number)

    def skip(self, number: int, failure: Failure, now: float) -> Job:
        """The result may not have its name, as a file that is not ours has it."""
        with self._transaction():
            if self._move(number, UNDER_WAY, JobState.SKIPPED, ended=now, settled=0):
                self._blame(number, failure)
                self._end_attempt(number, "skipped", now, failure)
        return self._job(number)

    def release(self, number: int, now: float, not_before: float = 0.0) -> Job:
        """Put a job back as if it had not been tried: the stop, a full disk, a changed source."""
        with self._transaction():
            row = self._by_id(number)
            values = {**_untried(row, now), "not_before": not_before}
            if self._move(number, UNDER_WAY, JobState.WAITING, **values):
                self._end_attempt(number, "released", now)
        return self._job(number)

    def pause(self, number: int, now: float) -> Job:
        """Take a job off the queue until it is resumed; whoever is at work on it is to stop."""
        with self._transaction():
            row = self._by_id(number)
            if row["state"] == JobState.RUNNING:
                self._move(number, (JobState.RUNNING,), JobState.PAUSED, **_untried(row, now))
                self._end_attempt(number, "paused", now)
            else:
                self._move(number, (JobState.WAITING,), JobState.PAUSED)
        return self._job(number)

    def resume(self, number: int) -> Job:
        """Put a paused job back into the queue; leave others as they are."""
        with self._transaction():
            self._move(number, (JobState.PAUSED,), JobState.WAITING, not_before=0.0)
        return self._job(number)

    def gone(self, number: int, now: float) -> Job:
        """The source went away; it becomes `waiting` again if it returns."""
        with self._transaction():
            states = (*QUEUED, *UNDER_WAY)
            if self._move(number, states, JobState.GONE, ended=now, attempts=0, settled=0):
                self._end_attempt(number, "gone", now)
                self._promote_duplicate(number)
        return self._job(number)

    def cancel(self, number: int, now: float, *, only_waiting: bool = False) -> Job:
        """Take a waiting job off the queue, or end a running one that its worker has dropped."""
        with self._transaction():
            states = (*QUEUED, *(() if only_waiting else (JobState.RUNNING,)))
            if self._move(number, states, JobState.CANCELLED, ended=now, settled=0):
                self._end_attempt(number, "cancelled", now)
        return self._job(number)

    def retry(self, number: int) -> Job:
        """Put a job that ended without a result back into the queue; leave others as they are."""
        with self._transaction():
            values = {"attempts": 0, "interruptions": 0, "not_before": 0.0, "same_as": None}
            values["settled"] = 1
            if not self._move(number, RETRYABLE, JobState.WAITING, **values):
                self._db.execute(  # one that waits for its next attempt need not wait
                    "UPDATE jobs SET not_before = 0 WHERE id = ? AND state = ?",
                    (number, JobState.WAITING),
                )
        return self._job(number)

    def forget(self, number: int) -> bool:
        """Delete a job that is not under way; its file is then as new. False if it is under way."""
        with self._transaction():
            row = self._by_id(number)
            unfinished = row["state"] == JobState.DONE and not row["settled"]
            if row["state"] in UNDER_WAY or unfinished:
                return False
            self._promote_duplicate(number)
            self._db.execute("DELETE FROM jobs WHERE id = ?", (number,))
            return True

    def recover(self, now: float) -> list[Job]:
        """After a start: what ran when the daemon died waits again. Returns those jobs."""
        with self._transaction():
            numbers = [
                row["id"]
                for row in self._db.execute(
                    "UPDATE jobs SET attempts = max(0, attempts - 1),"
                    " interruptions = interruptions + 1 WHERE state = ? RETURNING id",
                    (JobState.RUNNING,),
                )
            ]
            for number in numbers:
                self._move(number, (JobState.RUNNING,), JobState.WAITING, ended=now)
                self._end_attempt(number, "interrupted", now)
            return [self._job(number) for number in numbers]

    # reading

    def job(self, number: int) -> Job | None:
        """One job, with its report."""
        row = self._row("id = ?", number)
        return None if row is None else rows.job(row, report=True)

    def jobs(
        self,
        states: Sequence[JobState] = (),
        *,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Job]:
        """Jobs, the newest first; `before` is the id to go on from, `states` empty means all."""
        wanted = list(states) or list(JobState)
        marks = ", ".join("?" * len(wanted))
        found = self._db.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE state IN ({marks}) AND id < ?"  # noqa: S608 - only question marks
            " ORDER BY id DESC LIMIT ?",
            (*wanted, before if before is not None else 1 << 62, limit),
        )
        return [rows.job(row) for row in found]

    def of_source(self, path: Path) -> Job | None:
        """The job of the file that now lies at `path`."""
        row = self._row("path = ? AND current", os.fsencode(path))
        return None if row is None else rows.job(row, report=True)

    def of_output(self, path: Path) -> Job | None:
        """The newest job whose result has, or is to have, this name, if its source still counts."""
        row = self._row("output = ? AND current ORDER BY id DESC", os.fsencode(path))
        return None if row is None else rows.job(row)

    def unsettled(self) -> list[Job]:
        """Jobs whose result is to be given its name, or whose end is to be finished."""
        found = self._db.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE state = ? OR NOT settled ORDER BY id",  # noqa: S608 - constant
            (JobState.STAGED,),
        )
        return [rows.job(row) for row in found]

    def attempts(self, number: int) -> list[Attempt]:
        found = self._db.execute("SELECT * FROM attempts WHERE job = ? ORDER BY number", (number,))
        return [rows.attempt(row) for row in found]

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state, all states named."""
        found = self._db.execute("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")
        return dict.fromkeys(JobState, 0) | {JobState(row[0]): row[1] for row in found}

    def failures(self) -> dict[str, int]:
        """How many quarantined and skipped jobs there are of each error kind."""
        found = self._db.execute(
            "SELECT kind, count(*) FROM jobs WHERE state IN (?, ?) GROUP BY kind",
            (JobState.QUARANTINED, JobState.SKIPPED),
        )
        return {row[0] or "internal": row[1] for row in found}

    def next_due(self) -> float | None:
        """When the next waiting job may run, in seconds since the epoch; None: none waits."""
        (due,) = self._db.execute(
            "SELECT min(not_before) FROM jobs WHERE state = ?", (JobState.WAITING,)
        ).fetchone()
        return None if due is None else float(due)

    def gives_way(self, number: int, now: float) -> bool:
        """Whether another job would be claimed before a running one, if that rested now."""
        row = self._by_id(number)
        place = row["created"] + row["served"] + now - (row["started"] or now)
        found = self._row(
            "state = ? AND not_before <= ? AND created + served < ?", JobState.WAITING, now, place
        )
        return row["state"] == JobState.RUNNING and found is not None

    def is_ours(self, output: Path, fingerprint: Fingerprint) -> bool:
        """Whether a file is a result that a job has put there, unchanged since."""
        found = self._row(
            "output = ? AND state = ? AND result_size = ? AND result_mtime_ns = ?",
            *(os.fsencode(output), JobState.DONE, fingerprint.size, fingerprint.mtime_ns),
        )
        return found is not None

    # parts of the above

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # sqlite has rolled back by itself when a disk is full
                self._db.execute("ROLLBACK")
            raise

    def _meet_again(self, here: sqlite3.Row, source: Source) -> Admitted:
        """The same content under the same name: touched, or back."""
        self._look(here, source.fingerprint)
        if here["state"] != JobState.GONE:
            return self._admitted(here["id"], Verdict.KNOWN)
        if (twin := self._twin(source)) is not None:
            return self._admit_copy(here, twin)
        self._set(here, state=JobState.WAITING, not_before=0.0)
        return self._admitted(here["id"], Verdict.RETURNED)

    def _supersede(self, here: sqlite3.Row, now: float) -> None:
        """The file of this job has other content now."""
        self._set(here, current=0)
        if self._move(here["id"], QUEUED, JobState.GONE, ended=now, settled=0):
            self._promote_duplicate(here["id"])

    def _twin(self, source: Source) -> sqlite3.Row | None:
        """The job that stands for this content: no duplicate itself, nor gone nor cancelled."""
        states = (JobState.DUPLICATE, JobState.GONE, JobState.CANCELLED, JobState.SKIPPED)
        return self._row("digest = ? AND state NOT IN (?, ?, ?, ?)", source.digest, *states)

    def _admit_copy(self, row: sqlite3.Row, twin: sqlite3.Row) -> Admitted:
        self._set(row, state=JobState.DUPLICATE, same_as=twin["id"])
        self._quarantine_copies(twin["id"])
        return self._admitted(row["id"], Verdict.DUPLICATE)

    def _quarantine_copies(self, number: int) -> None:
        """What has the content of a quarantined job is so too, with its own reason file to come."""
        self._db.execute(
            "UPDATE jobs SET state = twin.state, kind = twin.kind, stage = twin.stage,"
            " message = twin.message, ended = twin.ended, settled = 0 FROM jobs AS twin"
            " WHERE twin.id = ? AND twin.state = ? AND jobs.same_as = twin.id AND jobs.state = ?",
            (number, JobState.QUARANTINED, JobState.DUPLICATE),
        )

    def _promote_duplicate(self, number: int) -> None:
        """The job stands for its content no longer: its first duplicate takes its place."""
        heir = self._db.execute(
            "UPDATE jobs SET state = ?, same_as = NULL WHERE id = (SELECT min(id) FROM jobs"
            " WHERE same_as = ? AND state = ? AND current) RETURNING id",
            (JobState.WAITING, number, JobState.DUPLICATE),
        ).fetchone()
        if heir is not None:
            self._db.execute("UPDATE jobs SET same_as = ? WHERE same_as = ?", (heir["id"], number))

    def _move(
        self, number: int, states: Sequence[JobState], to: JobState, **values: object
    ) -> bool:
        """Change state if it is one of `states`; whether it was.

        What would wait for content that its file has no longer is gone instead.
        """
        columns = "".join(f", {name} = ?" for name in values)
        marks = ", ".join("?" * len(states))
        obsolete = to == JobState.WAITING and not self._by_id(number)["current"]
        found = self._db.execute(
            f"UPDATE jobs SET state = ?{columns} WHERE id = ? AND state IN ({marks})",  # noqa: S608 - names from this file
            (JobState.GONE if obsolete else to, *values.values(), number, *states),
        )
        if obsolete and found.rowcount:
            self._promote_duplicate(number)
        return found.rowcount == 1

    def _set(self, row: sqlite3.Row, **values: object) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(
            f"UPDATE jobs SET {columns} WHERE id = ?",  # noqa: S608 - names from this file
            (*values.values(), row["id"]),
        )

    def _look(self, row: sqlite3.Row, fingerprint: Fingerprint) -> None:
        self._set(row, size=fingerprint.size, mtime_ns=fingerprint.mtime_ns)

    def _blame(self, number: int, failure: Failure) -> None:
        self._db.execute(
            "UPDATE jobs SET kind = ?, stage = ?, message = ? WHERE id = ?",
            (failure.kind, failure.stage, readable(failure.message), number),
        )

    def _end_attempt(
        self, number: int, outcome: str, now: float, failure: Failure | None = None
    ) -> None:
        told: tuple[object, ...] = (None, None, None)
        if failure is not None:
            told = failure.kind, failure.stage, readable(failure.message)
        self._db.execute(
            "UPDATE attempts SET ended = ?, outcome = ?, kind = ?, stage = ?, message = ?"
            " WHERE job = ? AND outcome = 'running'",
            (now, outcome, *told, number),
        )

    def _row(self, condition: str, *values: object) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._db.execute(
            f"SELECT * FROM jobs WHERE {condition} LIMIT 1",  # noqa: S608 - conditions from this file
            values,
        ).fetchone()
        return found

    def _by_id(self, number: int) -> sqlite3.Row:
        row = self._row("id = ?", number)
        if row is None:
            raise LookupError(f"there is no job {number}")
        return row

    def _job(self, number: int) -> Job:
        return rows.job(self._by_id(number))

    def _admitted(self, number: int, verdict: Verdict) -> Admitted:
        return Admitted(self._job(number), verdict)


def _untried(row: sqlite3.Row, now: float) -> dict[str, object]:
    """Values of a job whose attempt does not count, but the time that it took does."""
    worked = max(0.0, now - (row["started"] or now))
    attempts = max(0, row["attempts"] - 1)
    return {"attempts": attempts, "served": row["served"] + worked, "ended": now}
