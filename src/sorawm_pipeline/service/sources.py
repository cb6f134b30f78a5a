"""What becomes of a source: its reason file when it fails, its place when it is done."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sorawm_pipeline.media.target import TEMPORARY_PREFIX
from sorawm_pipeline.report import readable
from sorawm_pipeline.service import identity, publish
from sorawm_pipeline.service.jobs import Job
from sorawm_pipeline.service.names import DONE_FOLDER, reason_file

MOST_NAMES = 1000


def write_reason(job: Job) -> None:
    """Say beside the source, in words, why it is in quarantine.

    Raises:
        OSError: the folder cannot be written to.
    """
    assert job.failure is not None
    when = datetime.fromtimestamp(job.ended or 0.0, UTC).isoformat(timespec="seconds")
    stage = f" in the stage {job.failure.stage}" if job.failure.stage else ""
    text = (
        f"{readable(job.source.path.name)!s} was not cleaned.\n\n"
        f"{readable(job.failure.message)!s}\n\n"
        f"Kind of error: {job.failure.kind}{stage}. Attempts: {job.attempts}. Given up: {when}.\n"
        f"To try again: sorawm-pipeline jobs retry {job.id}\n"
        "Replacing the file does so too. This note is removed when the file is done or replaced.\n"
    )
    place = reason_file(job.source.path)
    temporary = place.with_name(f"{TEMPORARY_PREFIX}reason-{job.token}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(place)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove_reason(source: Path) -> None:
    """Raises OSError: it is there and cannot be removed."""
    reason_file(source).unlink(missing_ok=True)


def put_away(job: Job, root: Path) -> Path | None:
    """Move a done job's source to done/ below the watched folder; where it is now.

    None: it is not there any more, or has been changed since. Never replaces a file.

    Raises:
        OSError: it cannot be moved.
    """
    source = job.source.path
    if identity.fingerprint(source) != job.source.fingerprint:
        return None
    place = root / DONE_FOLDER / source.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST_NAMES):
        free = place if number == 1 else place.with_stem(f"{place.stem} ({number})")
        try:
            free.hardlink_to(source)
        except FileExistsError:
            if not identity.same_file(free, source):
                continue  # otherwise the daemon died between linking and unlinking
        except OSError as error:
            if error.errno not in publish.NO_LINKS:
                raise
            if os.path.lexists(free):
                continue
            source.rename(free)
            return free
        source.unlink()
        return free
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))


def delete(job: Job) -> bool:
    """Delete a done job's source, if its result is there, every byte of it.

    False: it is not, or the source is not there any more or has been changed since.

    Raises:
        OSError: it cannot be read or deleted.
    """
    source = job.source.path
    if identity.fingerprint(source) != job.source.fingerprint or not publish.is_placed(job):
        return False
    source.unlink(missing_ok=True)
    return True
