"""What lies in the watched folder, looked at without opening anything.

Links are never followed, neither to files nor to folders, so nothing outside the folder is reached.
Pipes, devices and sockets are no regular files and passed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline.service.identity import of_status
from sorawm_pipeline.service.jobs import Fingerprint
from sorawm_pipeline.service.names import DONE_FOLDER, is_input


@dataclass(frozen=True, slots=True)
class Seen:
    """One path: what regular file lies there, or None."""

    path: Path
    fingerprint: Fingerprint | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What belongs to the watched folder.

    Attributes:
        root: absolute, links in it resolved.
        ignore: patterns as in `names.is_input`.
        excluded: folders below it that are not looked into, absolute.
    """

    root: Path
    ignore: tuple[str, ...] = ()
    excluded: tuple[Path, ...] = ()

    @classmethod
    def of(cls, watch: Path, output: Path, ignore: Sequence[str], *, moves: bool) -> Scope:
        """The scope of a folder whose results go to `output`; `moves`: sources go to done/."""
        root = watch.resolve()
        excluded = [output.resolve(), *([root / DONE_FOLDER] if moves else [])]
        return cls(root, tuple(ignore), tuple(excluded))

    def holds(self, path: Path) -> bool:
        """Whether a path, by its name, may be an input or lead to one."""
        if path == self.root:
            return True
        if not path.is_relative_to(self.root) or ".." in path.parts:
            return False
        if any(path == folder or folder in path.parents for folder in self.excluded):
            return False
        return is_input(path.relative_to(self.root), self.ignore)

    def mark(self) -> tuple[int, int] | None:
        """What tells the folder from another one of its name; None: it is not there."""
        try:
            status = self.root.lstat()
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def look(scope: Scope, paths: Sequence[Path], told: Callable[[Path, OSError], None]) -> list[Seen]:
    """What there is at each of `paths`, folders with all that is in them.

    Args:
        scope: what may be looked at.
        paths: files and folders, absolute.
        told: of every folder or file that cannot be looked at.
    """
    found: list[Seen] = []
    for path in paths:
        if not scope.holds(path) or not reached_without_links(scope.root, path):
            continue
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            found.append(Seen(path, None))
            continue
        except OSError as error:
            told(path, error)
            continue
        if stat.S_ISDIR(status.st_mode):
            found += _walk(scope, path, told)
        elif stat.S_ISREG(status.st_mode):
            found.append(Seen(path, of_status(status)))
        else:
            found.append(Seen(path, None))
    return found


def _walk(scope: Scope, folder: Path, told: Callable[[Path, OSError], None]) -> Iterator[Seen]:
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            told(folder, error)
            continue
        for entry in listed:
            path = folder / entry.name
            if not scope.holds(path):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_file(follow_symlinks=False):
                    yield Seen(path, of_status(entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                yield Seen(path, None)
            except OSError as error:
                told(path, error)


def reached_without_links(root: Path, path: Path) -> bool:
    """Whether no folder between the root and the path is a link."""
    between = [folder for folder in path.parents if folder != root and root in folder.parents]
    return not any(folder.is_symlink() for folder in between)
