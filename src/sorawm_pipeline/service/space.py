"""Room on the disk of the results."""

from __future__ import annotations

import os
from pathlib import Path

from sorawm_pipeline.service.jobs import Job


def free_bytes(folder: Path) -> int:
    """What may still be written in a folder, or, before it is made, in the nearest one above.

    Raises:
        OSError: the disk does not answer.
    """
    while True:
        try:
            status = os.statvfs(folder)
        except FileNotFoundError:
            folder = folder.parent
        else:
            return status.f_bavail * status.f_frsize


def needed(job: Job, min_free: int) -> int:
    """Free bytes wanted before a job starts: what is to stay free, a result, and its pieces."""
    return min_free + 2 * job.source.fingerprint.size


def least(min_free: int) -> int:
    """Free bytes below which a running job is stopped; half, lest the two limits take turns."""
    return min_free // 2
