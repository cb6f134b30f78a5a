"""Whether a file is a whole clip, and which; runs in a worker, as it opens the file."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import InputError, PipelineError
from sorawm_pipeline.media.clip import Limits, open_input, probe
from sorawm_pipeline.report import ErrorReport
from sorawm_pipeline.service import identity, wire

PASSING = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that are the system's and not the file's: it may be readable later."""

STILL_WRITTEN = wire.FailureTold(kind="unreadable", message="another program is still writing it")


def inspect(
    order: wire.Inspect,
    config: PipelineConfig,
    tell: Callable[[int], None] = identity.no_news,
) -> wire.Inspected:
    """Look at a file: decode one frame, then read all of it for its digest.

    The second only if it is whole or will not be looked at again.

    Args:
        order: which file.
        config: whose limits hold.
        tell: called with the number of bytes read so far.
    """
    limits = Limits.of(config.decode.limits)
    try:
        before = identity.fingerprint(order.source)
        if before is None:
            return wire.Inspected(verdict="changed")
        if not order.last and _is_being_written(order.source):
            return wire.Inspected(verdict="broken", opens=True, failure=STILL_WRITTEN)
        error = _wrong(order.source, limits)
        if error is not None and not order.last:
            failure, opens = _told(error), _opens(order.source, limits)
            return wire.Inspected(verdict="broken", failure=failure, opens=opens)
        found = identity.source(order.source, tell)
    except OSError as refusal:
        if refusal.errno == errno.ENOENT:
            return wire.Inspected(verdict="changed")
        reason = (refusal.strerror or str(refusal)).lower()
        told = wire.FailureTold(
            kind="unreadable", message=f"{order.source} cannot be read: {reason}"
        )
        return wire.Inspected(verdict="unreadable", failure=told)
    if found is None or found.fingerprint != before:
        return wire.Inspected(verdict="changed")
    return wire.Inspected(
        verdict="whole" if error is None else "broken",
        failure=None if error is None else _told(error),
        opens=error is None or _opens(order.source, limits),
        size=found.fingerprint.size,
        mtime_ns=found.fingerprint.mtime_ns,
        digest=found.digest,
    )


def _wrong(path: Path, limits: Limits) -> Exception | None:
    """What keeps a file from being cleaned.

    Raises:
        OSError: the system refuses to read it.
    """
    try:
        probe(path, limits)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOENT, *PASSING):
            raise cause from None
        if isinstance(cause, OSError):
            identity.read(path)  # libav calls damage an input/output error too
        return error
    except Exception as error:  # a foreign parser met a hostile file
        return error
    return None


def _opens(path: Path, limits: Limits) -> bool:
    try:
        with closing(open_input(path, limits)):
            return True
    except Exception:  # as above
        return False


def _told(error: Exception) -> wire.FailureTold:
    kind = None if isinstance(error, PipelineError) else "unreadable"
    told = ErrorReport.of(error)
    return wire.FailureTold(kind=kind or told.kind, message=told.message, stage=told.stage)


def _is_being_written(path: Path) -> bool:
    """Whether a program on this machine has the file open for writing, if the system can tell.

    A read lease is refused then. It takes the owner or a privilege, and not every file system has
    it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    handler = signal.signal(signal.SIGIO, signal.SIG_IGN)  # sent if one opens it right now
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, handler)
    return False
