"""`jobs list|show|retry|forget`: the ledger from outside, whether a daemon runs or not."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError, OutputError
from sorawm_pipeline.report import readable
from sorawm_pipeline.service import limits, publish, sources
from sorawm_pipeline.service.jobs import Job, JobState
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.lock import wake_daemon


@contextmanager
def _ledger(config: PipelineConfig) -> Iterator[Ledger]:
    path = limits.ledger_path(config)
    if not path.exists():
        raise ConfigError(f"there is no ledger at {path}; a daemon makes it (service.ledger)")
    try:
        with Ledger(path) as ledger:
            yield ledger
    except sqlite3.Error as error:
        raise OutputError(f"the ledger {path} cannot be used: {error}") from error


def listed(
    config: PipelineConfig, states: Sequence[JobState], limit: int, *, as_json: bool
) -> list[str]:
    """One line for each job, the newest first."""
    with _ledger(config) as ledger:
        jobs = ledger.jobs(states, limit=limit)
    if as_json:
        return [json.dumps([as_data(job) for job in jobs], indent=2)]
    return [_line(job) for job in jobs]


def shown(config: PipelineConfig, number: int, *, as_json: bool) -> list[str]:
    """Everything about one job."""
    with _ledger(config) as ledger:
        job = ledger.job(number)
        if job is None:
            raise ConfigError(f"there is no job {number}")
        data = as_data(job)
        data["attempts"] = [
            {**asdict(attempt), "started": _time(attempt.started), "ended": _time(attempt.ended)}
            for attempt in ledger.attempts(number)
        ]
    if as_json:
        return [json.dumps(data, indent=2)]
    del data["report"]
    return [f"{key:14} {value}" for key, value in data.items() if key != "attempts"] + [
        f"attempt {attempt['number']:<6} {attempt['started']} {attempt['outcome']}"
        for attempt in data["attempts"]
    ]


def retried(config: PipelineConfig, numbers: Sequence[int]) -> list[str]:
    """Put jobs back into the queue, and wake the daemon."""
    told = []
    with _ledger(config) as ledger:
        for number in numbers:
            job = _known(ledger, number)
            before, job = job.state, ledger.retry(number)
            if job.state is not JobState.WAITING:
                raise ConfigError(f"job {number} is {before}; it cannot be tried again")
            try:
                sources.remove_reason(job.source.path)
            except OSError as error:
                told.append(f"its reason file stays: {error.strerror}")
            told.append(_line(job))
    wake_daemon(limits.ledger_path(config))
    return told


def paused(config: PipelineConfig, numbers: Sequence[int]) -> list[str]:
    """Take jobs off the queue until they are resumed; the daemon stops those that run."""
    return _moved(config, numbers, lambda ledger, n: ledger.pause(n, time.time()), JobState.PAUSED)


def resumed(config: PipelineConfig, numbers: Sequence[int]) -> list[str]:
    """Put paused jobs back into the queue, and wake the daemon."""
    return _moved(config, numbers, Ledger.resume, JobState.WAITING)


def _moved(
    config: PipelineConfig,
    numbers: Sequence[int],
    move: Callable[[Ledger, int], Job],
    to: JobState,
) -> list[str]:
    told = []
    with _ledger(config) as ledger:
        for number in numbers:
            before = _known(ledger, number).state
            job = move(ledger, number)
            if job.state is not to:
                raise ConfigError(f"job {number} is {before}; it cannot be made {to}")
            told.append(_line(job))
    wake_daemon(limits.ledger_path(config))
    return told


def forgotten(config: PipelineConfig, numbers: Sequence[int]) -> list[str]:
    """Delete jobs; their files are then as new to the daemon."""
    told = []
    with _ledger(config) as ledger:
        for number in numbers:
            job = _known(ledger, number)
            if not ledger.forget(number):
                raise ConfigError(f"job {number} is {job.state}; stop the daemon first")
            try:
                publish.clean_up(job)
            except OSError as error:
                told.append(f"its pieces stay: {error.strerror}")
            told.append(f"forgotten: {number} {readable(job.source.path)}")
    wake_daemon(limits.ledger_path(config))
    return told


def _known(ledger: Ledger, number: int) -> Job:
    job = ledger.job(number)
    if job is None:
        raise ConfigError(f"there is no job {number}")
    return job


def as_data(job: Job) -> dict[str, Any]:
    """A job as JSON has it: paths readable, times as text."""
    return {
        "id": job.id,
        "state": str(job.state),
        "source": readable(job.source.path),
        "output": readable(job.output),
        "bytes": job.source.fingerprint.size,
        "sha256": job.source.digest,
        "attempts": job.attempts,
        "interruptions": job.interruptions,
        "not_before": _time(job.not_before or None),
        "same_as": job.same_as,
        "error": None if job.failure is None else asdict(job.failure),
        "created": _time(job.created),
        "started": _time(job.started),
        "ended": _time(job.ended),
        "report": None if job.report is None else json.loads(job.report),
    }


def _line(job: Job) -> str:
    why = f"  {readable(job.failure.message)}" if job.failure is not None else ""
    same = f"  same as {job.same_as}" if job.same_as is not None else ""
    text = f"{job.id:>6} {job.state:12} {readable(job.source.path)}{same}{why}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
