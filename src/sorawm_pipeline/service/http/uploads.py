"""Uploaded files: streamed to disk under names of our own, counted on the way, and cleared away."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePath

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.media.target import TEMPORARY_PREFIX
from sorawm_pipeline.service import space
from sorawm_pipeline.service.daemon import Daemon
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.jobs import UNFINISHED, Job
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.limits import ledger_path
from sorawm_pipeline.service.names import VIDEO_SUFFIXES
from sorawm_pipeline.service.threads import Desk

SILENCE_S = 60.0
"""Seconds without a byte after which an upload is given up."""

SLOWEST = 8 << 10
"""Bytes per second of the slowest upload, beyond its first `SILENCE_S`."""

LOOK_BYTES = 64 << 20
"""Bytes between two looks at the room on the disk."""

NAME_CHARACTERS = 60
TOKEN_BYTES = 8
OUR_NAME = re.compile(rf"[A-Za-z0-9_-]+-[0-9a-f]{{{2 * TOKEN_BYTES}}}(\.[a-z0-9]+)?")


class Uploads:
    """Takes uploads for a daemon; keeps the files until their jobs have ended, and a while longer.

    Build and use it on the event loop.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.folder = folder_of(daemon.config)
        self._under_way: set[Path] = set()

    @property
    def under_way(self) -> int:
        """Uploads at this moment."""
        return len(self._under_way)

    async def take(self, name: str, chunks: AsyncIterator[bytes], length: int | None) -> Job:
        """Write an upload to disk and submit it.

        Args:
            name: as the client calls the file; only what is harmless of it is kept.
            chunks: its content.
            length: bytes as announced, if they were.

        Raises:
            RequestError: too large, too slow, too many at once, no room.
            PipelineError: as `Daemon.submit`.
        """
        most = self._daemon.config.service.upload_max
        if length is not None and length > most:
            raise _too_large(most)
        token = secrets.token_hex(TOKEN_BYTES)
        place = self.folder / harmless(name, token)
        temporary = self.folder / f"{TEMPORARY_PREFIX}upload-{token}"
        with self._one_more(temporary):
            desk = Desk("upload")
            try:
                try:
                    await self._write(desk, temporary, chunks, length or 0, most)
                    await desk.call(lambda: _settle(temporary, place))
                except OSError as error:
                    raise RequestError(
                        507, "no_space", f"the upload cannot be kept: {error.strerror}"
                    ) from error
                return await self._submitted(desk, place)
            finally:
                # Cancelled as well: an upload whose client went away leaves nothing.
                try:
                    await desk.call(lambda: _drop(temporary))
                finally:
                    await desk.close()

    async def clear(self) -> None:
        """Remove uploads whose jobs ended long ago, or that never became one."""
        now, keep_s = time.time(), self._daemon.config.service.uploads_keep_s
        desk = Desk("uploads")
        try:
            for path in await desk.call(lambda: _older(self.folder, now - keep_s)):
                job = await self._daemon.ledger.call(partial(Ledger.of_source, path=path))
                if job is None or _forgettable(job, now - keep_s):
                    await desk.call(partial(path.unlink, missing_ok=True))
        finally:
            await desk.close()

    async def sweep(self) -> None:
        """Remove what uploads that are not under way have left half-done."""
        desk = Desk("uploads")
        try:
            await desk.call(lambda: _sweep(self.folder, self._under_way))
        finally:
            await desk.close()

    @contextmanager
    def _one_more(self, temporary: Path) -> Iterator[None]:
        if len(self._under_way) >= self._daemon.config.service.uploads_at_once:
            raise RequestError(503, "busy", "too many uploads at once; see service.uploads_at_once")
        self._under_way.add(temporary)
        try:
            yield
        finally:
            self._under_way.remove(temporary)

    async def _write(
        self, desk: Desk, place: Path, chunks: AsyncIterator[bytes], announced: int, most: int
    ) -> None:
        await desk.call(lambda: self.folder.mkdir(mode=0o700, parents=True, exist_ok=True))
        await desk.call(lambda: self._need_room(announced))
        file = await desk.call(lambda: _create(place))
        try:
            taken, looked = 0, 0
            iterator = aiter(chunks)
            now = asyncio.get_running_loop().time
            begun = now()
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        chunk = await anext(iterator, None)
                except TimeoutError:
                    raise _too_slow() from None
                if chunk is None:
                    break
                taken += len(chunk)
                if now() > begun + SILENCE_S + taken / SLOWEST:
                    raise _too_slow()
                if taken > most:
                    raise _too_large(most)
                if taken - looked > LOOK_BYTES:
                    looked = taken
                    await desk.call(lambda: self._need_room(0))
                await desk.call(partial(_write_all, file, chunk))
            if not taken:
                raise RequestError(422, "empty", "the upload holds no bytes")
            await desk.call(lambda: os.fsync(file))
        finally:
            await desk.call(lambda: os.close(file))

    def _need_room(self, announced: int) -> None:
        if space.free_bytes(self.folder) < announced + self._daemon.config.service.min_free:
            raise RequestError(507, "no_space", "the disk of the uploads is full; try again later")

    async def _submitted(self, desk: Desk, place: Path) -> Job:
        try:
            return await self._daemon.submit(place)
        except (PipelineError, asyncio.CancelledError):
            await desk.call(lambda: _drop(place))
            raise


def folder_of(config: PipelineConfig) -> Path:
    """Beside the ledger by default: what one ledger does not know may be another's."""
    return (config.service.uploads or ledger_path(config).with_suffix(".uploads")).absolute()


def harmless(name: str, token: str) -> str:
    """A file name of our own: letters, digits and a few signs of the client's, and a token."""
    given = PurePath(name.replace("\\", "/")).name
    stem, dot, suffix = given.rpartition(".")
    suffix = f".{suffix.lower()}" if dot else ""
    if suffix not in VIDEO_SUFFIXES:
        stem, suffix = given, ""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:NAME_CHARACTERS].strip("-") or "upload"
    return f"{stem}-{token}{suffix}"


def _too_large(most: int) -> RequestError:
    return RequestError(413, "too_large", f"uploads may have {most} bytes; see service.upload_max")


def _too_slow() -> RequestError:
    return RequestError(
        408, "slow", f"nothing came for {SILENCE_S:.0f} s, or too little; send it again"
    )


def _create(place: Path) -> int:
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_all(file: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(file, view) :]


def _settle(temporary: Path, place: Path) -> None:
    temporary.rename(place)
    try:
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        _drop(place)
        raise


def _drop(path: Path) -> None:
    """Remove a file; one that will not go is left for `sweep` or `clear`."""
    with suppress(OSError):
        path.unlink()


def _older(folder: Path, than: float) -> list[Path]:
    """Files named by `harmless`: whatever else lies in the folder is somebody's own."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if OUR_NAME.fullmatch(path.name) and path.lstat().st_mtime < than:
                    found.append(path)
    return found


def _forgettable(job: Job, before: float) -> bool:
    return job.state not in UNFINISHED and job.settled and (job.ended or job.created) < before


def _sweep(folder: Path, under_way: Collection[Path]) -> None:
    """Looked up file by file: an upload is under way before its file is there."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}upload-*"):
        if path not in under_way:
            path.unlink(missing_ok=True)
