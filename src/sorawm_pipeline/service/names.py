"""Names that this program gives to files in folders it shares with others, and what is no input.

Everything temporary begins with `.sorawm-`; the one thing meant for people is the reason file
beside a quarantined source.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from sorawm_pipeline.media.target import NAME_MAX_BYTES, TEMPORARY_PREFIX
from sorawm_pipeline.service.jobs import Job

REASON_SUFFIX = ".sorawm-error.txt"
DONE_FOLDER = "done"
"""Where cleaned sources go below the watched folder, with `input.after: move`."""


def is_input(path: PurePath, ignore: Sequence[str]) -> bool:
    """Whether a path relative to the watched folder may be a clip, by its names alone.

    Hidden files and folders are not, nor reason files, nor what matches one of the patterns: of a
    name, or, with a slash in it, of the whole relative path; `*` matches slashes too.
    """
    if any(part.startswith(".") for part in path.parts) or path.name.endswith(REASON_SUFFIX):
        return False
    return not any(
        fnmatchcase(path.as_posix() if "/" in pattern else part, pattern)
        for pattern in ignore
        for part in path.parts
    )


def staging_folder(job: Job) -> Path:
    """Where the next result of a job is made: beside its final name, so that it can be linked."""
    return job.output.parent / f"{TEMPORARY_PREFIX}job-{job.token}"


def reason_file(source: Path) -> Path:
    """The file beside a source that says why it is in quarantine."""
    name = os.fsencode(source.name)
    room = NAME_MAX_BYTES - len(REASON_SUFFIX)
    if len(name) > room:
        mark = hashlib.sha256(name).hexdigest()[:8].encode()
        name = name[: room - len(mark) - 1] + b"~" + mark
    return source.with_name(os.fsdecode(name) + REASON_SUFFIX)


VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m1v", ".m2t"),
        *(".m2ts", ".m2v", ".m4v", ".mj2", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg"),
        *(".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob"),
        *(".webm", ".wmv", ".y4m"),
    }
)
"""A file with such a name is meant to be a clip: if it is none, somebody wants to know."""


def claims_to_be_video(path: PurePath) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES
