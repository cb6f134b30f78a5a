"""Giving a staged result its name, so that whatever dies in between, it is there whole and once.

The worker makes the result in a staging folder beside its final name, durably (`media.target`).
Then

1. the ledger says `staged`, with size, time and digest of the result;
2. what lies beside the result, then the result itself, is *linked* to its final name, and the
   folder is brought to the disk; the staged file stays;
3. the ledger says `done`;
4. the staging folder is removed, and the ledger says `settled`.

After a death before 1 the job is started anew in an empty staging folder. After one between 1 and 3
the step is repeated: a final name that is the same file as the staged one is done already. After
one between 3 and 4 only the cleaning up is repeated. Where there are no hard links, 2 is a rename,
and repeating it knows the result by its digest.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.media.target import (
    PIECES_FOLDER,
    SIDECAR_SUFFIX,
    TEMPORARY_PREFIX,
    write_error,
)
from sorawm_pipeline.service import identity
from sorawm_pipeline.service.jobs import Job
from sorawm_pipeline.service.names import staging_folder

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_SPARE = f"{TEMPORARY_PREFIX}link"


def place(job: Job, *, may_replace: bool) -> bool:
    """Step 2; False: the staged result is lost, and the job is to be done again.

    Raises:
        OutputError: kind `exists` if another file has the name and may not be replaced; else the
            disk refuses, and calling it again is safe.
    """
    assert job.result is not None
    staged = staging_folder(job) / job.output.name
    try:
        there = identity.fingerprint(staged)
        if there is None:
            if identity.result(job.output) != job.result:
                return False
        elif there != job.result.fingerprint:
            return False
        else:
            _place(_beside(staged), _beside(job.output), may_replace=may_replace)
            _place(staged, job.output, may_replace=may_replace)
        _sync_folder(job.output.parent)
    except OSError as error:
        raise write_error(job.output, error) from error
    return True


def is_placed(job: Job) -> bool:
    """Whether the final name holds the result, every byte of it read.

    Raises:
        OSError: it cannot be read.
    """
    return job.result is not None and identity.result(job.output) == job.result


def clean_up(job: Job, *, keep_pieces: bool = False) -> None:
    """Remove the job's staging folder, if there is one.

    Args:
        job: whose folder it is.
        keep_pieces: leave the pieces of a long clip for the next attempt.

    Raises:
        OSError: the disk refuses.
    """
    folder = staging_folder(job)
    with suppress(FileNotFoundError):
        if not keep_pieces or not (folder / PIECES_FOLDER).is_dir():
            shutil.rmtree(folder)
            return
        for path in folder.iterdir():
            if path.name != PIECES_FOLDER:
                path.unlink()


def _place(staged: Path, final: Path, *, may_replace: bool) -> None:
    if not staged.exists() or identity.same_file(staged, final):
        return
    try:
        if may_replace:
            spare = staged.with_name(_SPARE)
            spare.unlink(missing_ok=True)
            spare.hardlink_to(staged)
            spare.replace(final)
        else:
            final.hardlink_to(staged)
    except FileExistsError:
        raise _taken(final) from None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if not may_replace and os.path.lexists(final):
            raise _taken(final) from None
        staged.replace(final)


def _taken(final: Path) -> OutputError:
    return OutputError(
        f"{final} exists already and is not a result of this job; move it away or set "
        "output.overwrite",
        kind="exists",
    )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SIDECAR_SUFFIX)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
