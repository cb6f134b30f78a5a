"""The ledger's tables, version by version."""

from __future__ import annotations

import sqlite3

from sorawm_pipeline.errors import ConfigError

VERSIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        token TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        path BLOB NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        digest TEXT NOT NULL,
        output BLOB NOT NULL,
        overwrite INTEGER NOT NULL,
        current INTEGER NOT NULL DEFAULT 1, -- 0: the file of this path has other content now
        attempts INTEGER NOT NULL DEFAULT 0,
        interruptions INTEGER NOT NULL DEFAULT 0,
        not_before REAL NOT NULL DEFAULT 0,
        claim TEXT,
        kind TEXT,
        stage TEXT,
        message TEXT,
        same_as INTEGER REFERENCES jobs(id) ON DELETE SET NULL,
        result_size INTEGER,
        result_mtime_ns INTEGER,
        result_digest TEXT,
        settled INTEGER NOT NULL DEFAULT 1,
        created REAL NOT NULL,
        started REAL,
        ended REAL,
        report TEXT
    ) STRICT;
    CREATE UNIQUE INDEX job_of_path ON jobs(path) WHERE current;
    CREATE INDEX job_of_digest ON jobs(digest);
    CREATE INDEX job_of_output ON jobs(output);
    CREATE INDEX jobs_by_state ON jobs(state);
    CREATE INDEX duplicates ON jobs(same_as) WHERE same_as IS NOT NULL;
    CREATE TABLE attempts (
        job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
        number INTEGER NOT NULL, -- counts on when a job is retried
        started REAL NOT NULL,
        ended REAL,
        outcome TEXT NOT NULL,
        kind TEXT,
        stage TEXT,
        message TEXT,
        PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE jobs ADD COLUMN served REAL NOT NULL DEFAULT 0; -- seconds in attempts that rested
    """,
)
"""`VERSIONS[n]` leads from version n to n + 1; one that was released is never changed."""


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring the tables up to this program's version, in one transaction.

    Raises:
        ConfigError: a newer program wrote the ledger.
    """
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(VERSIONS):
        raise ConfigError(
            f"the ledger {name} was written by a newer version of this program; "
            "install that, or restore a copy from before the upgrade"
        )
    for script in VERSIONS[version:]:
        for statement in script.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(VERSIONS)}")
    connection.execute("COMMIT")
