"""What the ledger keeps of a job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class JobState(StrEnum):
    """Where a job stands.

    waiting -> running -> staged -> done
    A failed attempt leads back to waiting, the last one to quarantined; a pause leads to paused.
    """

    WAITING = "waiting"
    PAUSED = "paused"  # taken off the queue by a person, who will put it back
    RUNNING = "running"
    STAGED = "staged"  # the result is whole and durable, but does not have its name yet
    DONE = "done"
    QUARANTINED = "quarantined"
    SKIPPED = "skipped"  # its result's name is taken by a file that is not ours
    DUPLICATE = "duplicate"  # the same content as another job
    CANCELLED = "cancelled"
    GONE = "gone"  # the source went away before it was done


QUEUED = (JobState.WAITING, JobState.PAUSED)
"""States that nobody is at work in, and that lead to others when somebody is or wants it."""

UNDER_WAY = (JobState.RUNNING, JobState.STAGED)
"""States in which a worker or the publisher holds the job."""

UNFINISHED = (*QUEUED, *UNDER_WAY)
"""States that are no end."""

RETRYABLE = (
    JobState.QUARANTINED,
    JobState.SKIPPED,
    JobState.DUPLICATE,
    JobState.CANCELLED,
    JobState.GONE,
)
"""States from which `Ledger.retry` puts a job back."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a file looks without reading it: bytes, and time of its last change in ns."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file to clean.

    Attributes:
        path: absolute.
        fingerprint: when it was read.
        digest: SHA-256 of the content, hexadecimal.
    """

    path: Path
    fingerprint: Fingerprint
    digest: str


@dataclass(frozen=True, slots=True)
class Result:
    """A staged result: its fingerprint, which its final name keeps, and its SHA-256."""

    fingerprint: Fingerprint
    digest: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed: the kinds of docs/operations.md, the stage or None, one sentence."""

    kind: str
    message: str
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the ledger.

    Attributes:
        id: grows with each job, never used twice.
        token: names its files on disk; unique among all ledgers.
        output: the result's final name.
        overwrite: whether any file of that name may be replaced.
        attempts: failed and running attempts since it was admitted or retried.
        interruptions: how often the daemon died under it.
        not_before: no attempt before this time, seconds since the epoch.
        failure: of the last attempt, if that failed.
        same_as: id of the job with the same content, of a duplicate or a copy of what failed.
        result: from `staged` on.
        settled: whether everything after its end is done too: staging removed, source moved or
            its reason file written.
        created, started, ended: seconds since the epoch; of the last attempt.
        report: the clip's report as JSON, of a done job, else None. Only `Ledger.job` fills it.
    """

    id: int
    token: str
    state: JobState
    source: Source
    output: Path
    overwrite: bool
    attempts: int
    interruptions: int
    not_before: float
    failure: Failure | None
    same_as: int | None
    result: Result | None
    settled: bool
    created: float
    started: float | None
    ended: float | None
    report: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a job: how it ended (`running`, `done`, `failed`, `released`, ...)."""

    number: int
    started: float
    ended: float | None
    outcome: str
    failure: Failure | None


class Verdict(StrEnum):
    """What `Ledger.admit` made of a file."""

    NEW = "new"
    KNOWN = "known"  # this content under this name has its job already
    RENAMED = "renamed"  # an unfinished job whose file now has this name
    DUPLICATE = "duplicate"
    RETURNED = "returned"  # a job that was gone waits again


@dataclass(frozen=True, slots=True)
class Admitted:
    job: Job
    verdict: Verdict
