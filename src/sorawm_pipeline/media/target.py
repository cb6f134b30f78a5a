"""Where a result goes: checked first, written under a temporary name, published whole."""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline.errors import OutputError

TEMPORARY_PREFIX = ".sorawm-"


@dataclass(frozen=True, slots=True)
class Target:
    """A result's place.

    Attributes:
        path: final name.
        temporary: name in the same folder, hidden, with the same extension.
        overwrite: whether an existing file may be replaced.
    """

    path: Path
    temporary: Path
    overwrite: bool

    @classmethod
    def prepare(cls, source: Path, path: Path, *, overwrite: bool) -> Target:
        """Make the folder and check that a result may be written there.

        Raises:
            OutputError: the output is the input, exists, or its folder cannot be made or written.
        """
        path = path.absolute()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and source.exists() and path.samefile(source):
                raise OutputError(
                    f"the output {path} is the input itself; choose another folder or name"
                )
            if path.is_dir():
                raise OutputError(f"the output {path} is a folder")
            if path.exists() and not overwrite:
                raise OutputError(
                    f"{path} exists already; use --overwrite to replace it", kind="exists"
                )
        except OSError as error:
            raise write_error(path, error) from error
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path.parent} cannot be written to (permission denied)")
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}")
        return cls(path, temporary, overwrite)

    def publish(self) -> None:
        """Give the finished temporary file its final name, durably and in one step.

        Raises:
            OutputError: another process made the output meanwhile, or the disk refuses.
        """
        try:
            with self.temporary.open("rb") as file:
                os.fsync(file.fileno())
            if self.overwrite:
                self.temporary.replace(self.path)
            else:
                self._link()
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise write_error(self.path, error) from error

    def publish_beside(self, suffix: str, text: str) -> None:
        """Write a small text file named like the result with `suffix` behind it.

        Raises:
            OutputError: the disk refuses.
        """
        beside = self.path.with_name(self.path.name + suffix)
        temporary = self.temporary.with_name(self.temporary.name + suffix)
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(beside)
        except OSError as error:
            raise write_error(beside, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what was written; harmless when there is nothing."""
        self.temporary.unlink(missing_ok=True)

    def _link(self) -> None:
        """A hard link fails where the name is taken, which a rename would silently replace."""
        try:
            self.path.hardlink_to(self.temporary)
        except FileExistsError:
            raise OutputError(
                f"{self.path} was made by another program meanwhile; nothing was replaced",
                kind="exists",
            ) from None
        except OSError:  # file systems without hard links
            if self.path.exists():
                raise OutputError(f"{self.path} exists already", kind="exists") from None
            self.temporary.replace(self.path)
        else:
            self.temporary.unlink()


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
