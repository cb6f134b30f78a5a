"""Where a result goes: checked first, written under a temporary name, published whole."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline.errors import OutputError

TEMPORARY_PREFIX = ".sorawm-"
PIECES_FOLDER = TEMPORARY_PREFIX + "pieces"
"""Beside a result that is made in pieces."""
SUFFIX_MAX = 16
SIDECAR_SUFFIX = ".xmp"
NAME_MAX_BYTES = 255


@dataclass(slots=True)
class Target:
    """A result's place.

    Attributes:
        path: final name.
        temporary: name in the same folder, hidden, with the same extension.
        overwrite: whether an existing file may be replaced.
        beside: text to publish with the result, in a file named like it with `.xmp` behind.
    """

    path: Path
    temporary: Path
    overwrite: bool
    beside: str | None = None

    @classmethod
    def prepare(cls, source: Path, path: Path, *, overwrite: bool) -> Target:
        """Make the folder and check that a result may be written there.

        Raises:
            OutputError: the output is the input, exists, or its folder cannot be made or written.
        """
        try:
            path = path.absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and source.exists() and path.samefile(source):
                raise OutputError(
                    f"the output {path} is the input itself; choose another folder or name"
                )
            if path.is_dir():
                raise OutputError(f"the output {path} is a folder")
            if path.is_symlink() and not path.exists():
                raise OutputError(f"the output {path} is a link that leads nowhere")
            if path.exists() and not path.is_file():
                raise OutputError(f"the output {path} is not a regular file")
            if path.exists() and not overwrite:
                raise OutputError(
                    f"{path} exists already; use --overwrite to replace it", kind="exists"
                )
        except OSError as error:
            raise write_error(path, error) from error
        except ValueError as error:
            raise OutputError(f"{str(path)!a} is no file name: {error}") from error
        if len(os.fsencode(path.name + SIDECAR_SUFFIX)) > NAME_MAX_BYTES:
            raise OutputError(f"the name of the output {path} is too long")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path.parent} cannot be written to (permission denied)")
        temporary = path.with_name(
            f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix[:SUFFIX_MAX]}"
        )
        return cls(path, temporary, overwrite)

    def publish(self) -> None:
        """Give the finished temporary file its final name, durably and in one step.

        What goes beside it comes first, so that no result is ever seen without it.

        Raises:
            OutputError: another process made the output meanwhile, or the disk refuses.
        """
        sidecar = self._write_sidecar()
        try:
            _sync(self.temporary)
            self._place(self.temporary, self.path)
        except BaseException as error:
            if sidecar is not None:
                sidecar.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise write_error(self.path, error) from error
            raise
        _sync(self.path.parent)

    def discard(self) -> None:
        """Remove what was written; harmless when there is nothing."""
        for leftover in (self.temporary, self._sidecar_temporary):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)

    @property
    def _sidecar_temporary(self) -> Path:
        return self.temporary.with_name(self.temporary.name + SIDECAR_SUFFIX)

    def _write_sidecar(self) -> Path | None:
        if self.beside is None:
            return None
        sidecar = self.path.with_name(self.path.name + SIDECAR_SUFFIX)
        try:
            self._sidecar_temporary.write_text(self.beside, encoding="utf-8")
            _sync(self._sidecar_temporary)
            self._place(self._sidecar_temporary, sidecar)
        except OSError as error:
            raise write_error(sidecar, error) from error
        return sidecar

    def _place(self, temporary: Path, path: Path) -> None:
        """Rename; a hard link fails where the name is taken, which a rename would replace."""
        if self.overwrite:
            temporary.replace(path)
            return
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise OutputError(
                f"{path} was made by another program meanwhile; nothing was replaced",
                kind="exists",
            ) from None
        except OSError:  # file systems without hard links
            if path.exists():
                raise OutputError(f"{path} exists already", kind="exists") from None
            temporary.replace(path)
        else:
            temporary.unlink()


def _sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(path: Path, error: OSError) -> OutputError:
    """One sentence about a file that cannot be written."""
    folder = path.parent
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"no space left in {folder}; nothing was published", kind="no_space")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"{folder} cannot be written to ({reason.lower()})")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return OutputError(f"{folder} is not a folder")
    return OutputError(f"writing {path} failed: {reason}")
