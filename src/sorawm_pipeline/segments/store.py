"""Pieces that are done, on the disk, each under what it was made from.

A piece is an .npz file (see `snapshot`) and, where it has packets, a file with their bytes. It is
there once it has its final name, whole; so several processes may write to one store, and one that
is killed leaves nothing but temporary names.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.media.target import PIECES_FOLDER, write_error
from sorawm_pipeline.snapshot import SnapshotError, dumped, loaded

FORMS = "forms"
"""Under this name lies in which form the networks are that fill."""

QUALITY = "quality-"
"""Names of how finely a result is encoded begin so."""

PART, DONE, PACKETS = ".part", ".npz", ".packets"


def key_of(*what: object) -> str:
    """A digest of JSON values and bytes: the same key, the same piece."""
    digest = hashlib.sha256()
    for one in what:
        data = one if isinstance(one, bytes) else json.dumps(one, sort_keys=True).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


class Store:
    """The pieces of one result.

    Args:
        folder: made when something is put into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, output: Path) -> Store:
        """The store of a result, on the same disk."""
        name = key_of(os.fsencode(output.absolute()))
        return cls(output.absolute().parent / PIECES_FOLDER / name)

    def packets(self, name: str) -> Path:
        """The file of a piece's packets, here."""
        return self.folder / (name + PACKETS)

    def offer(self, source: Path, key: str) -> Path:  # noqa: ARG002 - of those that send it
        """Let others reach a source; returns what they are to `reach`.

        Args:
            source: the file.
            key: of its content.
        """
        return source

    def reach(self, source: Path) -> Path:
        """A file, here, that holds what was offered under this name."""
        return source

    def get(self, name: str) -> Any:
        """What was put; None if there is nothing, or nothing that can be read."""
        try:
            return loaded(self.folder / (name + DONE))
        except (OSError, SnapshotError):
            return None

    def draft(self) -> Path:
        """A new temporary name for packets.

        Raises:
            OutputError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from error
        return self.folder / (secrets.token_hex(8) + PART)

    def put(self, name: str, what: object, packets: Path | None = None) -> None:
        """Give a piece its final name, durably; its packets, already on the disk, come first.

        Raises:
            OutputError: the disk refuses.
        """
        draft = self.draft()
        try:
            with draft.open("xb") as file:
                file.write(dumped(what))
                file.flush()
                os.fsync(file.fileno())
            if packets is not None:
                packets.replace(self.folder / (name + PACKETS))
            draft.replace(self.folder / (name + DONE))
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise write_error(draft, error) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other coordinators away, and what killed processes left behind out of the way.

        Raises:
            OutputError: another process makes this result.
        """
        self.draft()
        with (self.folder / "lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(
                    f"another process is at work in {self.folder}; wait for it or stop it"
                ) from None
            for left in self.folder.glob("*" + PART):
                left.unlink(missing_ok=True)
            yield

    def prune(self, keep: tuple[str, ...]) -> None:
        """Remove the pieces whose names begin otherwise."""
        for path in self.folder.glob("*"):
            if path.suffix in (DONE, PACKETS) and not path.name.startswith(keep):
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # if it was the last
