"""One daemon per ledger, and its process id for those who want to wake it."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sorawm_pipeline.errors import ConfigError


def _lock_file(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".lock")


@contextmanager
def alone(ledger: Path) -> Iterator[None]:
    """Hold the ledger's lock; the kernel frees it when the process ends, however it ends.

    Raises:
        ConfigError: another daemon has it, or its folder cannot be written to.
    """
    path = _lock_file(ledger)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"the ledger {ledger} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another daemon (process {_read(descriptor)}) uses the ledger {ledger}; stop it, "
                "or name another one in service.ledger"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def wake_daemon(ledger: Path) -> bool:
    """Have a running daemon look at its ledger again; False if there is none of this user."""
    try:
        descriptor = os.open(_lock_file(ledger), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            os.kill(int(_read(descriptor)), signal.SIGUSR1)
        except (OSError, ValueError):
            return False
        return True
    finally:
        os.close(descriptor)
    return False


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode("ascii", "replace")
