"""How a file is known again."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from sorawm_pipeline.service.jobs import Fingerprint, Result, Source

BLOCK = 1 << 20


def fingerprint(path: Path) -> Fingerprint | None:
    """Of a regular file that is no link; None for everything else, and where there is nothing.

    Raises:
        OSError: the folder cannot be searched, or the disk reports an error.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return of_status(status) if stat.S_ISREG(status.st_mode) else None


def of_status(status: os.stat_result) -> Fingerprint:
    return Fingerprint(status.st_size, status.st_mtime_ns)


def no_news(done: int) -> None:
    """For those who do not want to know how far reading has got."""


def read(path: Path, tell: Callable[[int], None] = no_news) -> tuple[Fingerprint, str] | None:
    """Fingerprint and SHA-256 of a file; None if it changed meanwhile or is no regular file.

    Args:
        path: of the file; a link is refused.
        tell: called again and again with the number of bytes read so far.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return None
        digest = hashlib.sha256()
        done = 0
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            tell(done)
        if of_status(os.fstat(descriptor)) != of_status(before):
            return None
        return of_status(before), digest.hexdigest()


def source(path: Path, tell: Callable[[int], None] = no_news) -> Source | None:
    """A file as a job's source; None if it changed while it was read. Raises as `read`."""
    found = read(path, tell)
    return None if found is None else Source(path, *found)


def result(path: Path, tell: Callable[[int], None] = no_news) -> Result | None:
    """A file as a job's result; None if it is missing or changed while it was read.

    Raises:
        OSError: it cannot be read.
    """
    try:
        found = read(path, tell)
    except FileNotFoundError:
        return None
    return None if found is None else Result(*found)


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are the same file, links not followed."""
    try:
        a, b = one.lstat(), other.lstat()
    except FileNotFoundError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
