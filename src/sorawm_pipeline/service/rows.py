"""Rows of the ledger as values."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sorawm_pipeline.service.jobs import (
    Attempt,
    Failure,
    Fingerprint,
    Job,
    JobState,
    Result,
    Source,
)

Row = sqlite3.Row


def path(value: bytes) -> Path:
    return Path(os.fsdecode(value))


def fingerprint(row: Row) -> Fingerprint:
    return Fingerprint(row["size"], row["mtime_ns"])


def job(row: Row, *, report: bool = False) -> Job:
    return Job(
        id=row["id"],
        token=row["token"],
        state=JobState(row["state"]),
        source=Source(path(row["path"]), fingerprint(row), row["digest"]),
        output=path(row["output"]),
        overwrite=bool(row["overwrite"]),
        attempts=row["attempts"],
        interruptions=row["interruptions"],
        not_before=row["not_before"],
        failure=_failure(row),
        same_as=row["same_as"],
        result=_result(row),
        settled=bool(row["settled"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        report=row["report"] if report else None,
    )


def attempt(row: Row) -> Attempt:
    return Attempt(row["number"], row["started"], row["ended"], row["outcome"], _failure(row))


def _failure(row: Row) -> Failure | None:
    if row["kind"] is None:
        return None
    return Failure(row["kind"], row["message"], row["stage"])


def _result(row: Row) -> Result | None:
    if row["result_digest"] is None:
        return None
    return Result(Fingerprint(row["result_size"], row["result_mtime_ns"]), row["result_digest"])
