"""Pieces and sources in an object store, for machines that share no folder.

What is in a store lies below its URL, under the same names as in its folder, which is then a cache.
An object is there whole or not at all, so nothing needs to be renamed. The library is fsspec, whose
own configuration and environment say who may do what.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sorawm_pipeline.errors import ConfigError, DeviceError
from sorawm_pipeline.segments.store import DONE, PACKETS, PART, Store, key_of

FOLDERS = "sorawm-fetched-"
"""Temporary folders of what was fetched begin so."""


class ObjectStore(Store):
    """The pieces of one result, below a URL.

    Args:
        folder: for what was fetched or is to be sent.
        url: of what the others see.

    Raises:
        ConfigError: nothing is known of such URLs.
    """

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url.rstrip("/")
        self._files = files_of(self.url)

    @classmethod
    def of_result(cls, output: Path, root: str) -> ObjectStore:
        """The store of a result below `root`; no other machine's has the same."""
        key = key_of(os.fsencode(output.absolute()), socket.gethostname())
        return cls(Store.beside(output).folder, f"{root.rstrip('/')}/{key}")

    def get(self, name: str) -> Any:
        if (here := super().get(name)) is not None:
            return here
        return super().get(name) if self._fetch(name + DONE) else None

    def put(self, name: str, what: object, packets: Path | None = None) -> None:
        super().put(name, what, packets)
        if packets is not None:
            self._send(name + PACKETS)
        self._send(name + DONE)  # last: with it, the piece is there

    def packets(self, name: str) -> Path:
        path = super().packets(name)
        if not path.exists() and not self._fetch(path.name):
            raise DeviceError(f"{self.url}/{path.name} has disappeared")
        return path

    def offer(self, source: Path, key: str) -> Path:
        name = f"source-{key}{source.suffix}"
        with self._asked():
            there = f"{self.url}/{name}"
            self._files.makedirs(self.url, exist_ok=True)  # where there are folders
            if not self._files.exists(there) or self._files.size(there) != source.stat().st_size:
                self._files.put_file(str(source), there)
        return Path(name)

    def reach(self, source: Path) -> Path:
        path = self.folder / source.name
        if not path.exists() and not self._fetch(path.name):
            raise DeviceError(f"{self.url}/{path.name} is not there")
        return path

    def forget(self) -> None:
        """Remove what was fetched; it can be fetched again."""
        super().remove()

    def prune(self, keep: tuple[str, ...]) -> None:
        super().prune(keep)
        with suppress(FileNotFoundError), self._asked():
            for path in self._files.find(self.url):
                name = path.rpartition("/")[2]
                if name.endswith((DONE, PACKETS)) and not name.startswith(keep):
                    self._files.rm_file(path)

    def remove(self) -> None:
        super().remove()
        with suppress(DeviceError, FileNotFoundError), self._asked():
            self._files.rm(self.url, recursive=True)

    def _fetch(self, name: str) -> bool:
        """Whether it was there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / (secrets.token_hex(8) + PART)
        try:
            with self._asked():
                self._files.get_file(f"{self.url}/{name}", str(draft))
            draft.replace(self.folder / name)
        except FileNotFoundError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _send(self, name: str) -> None:
        with self._asked():
            self._files.makedirs(self.url, exist_ok=True)
            self._files.put_file(str(self.folder / name), f"{self.url}/{name}")

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Each kind of store fails in its own way; only what is not there is told as such."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise DeviceError(f"{self.url} cannot be reached: {reason}") from error


def files_of(url: str) -> Any:
    """What fsspec knows of a URL.

    Raises:
        ConfigError: fsspec, or its part for such URLs, is not installed; or there are none.
    """
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(
            "cluster.store needs fsspec: install it with `pip install 'sorawm-pipeline[ray]'`"
        ) from error
    try:
        return fsspec.core.url_to_fs(url)[0]
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cluster.store: {url} cannot be used: {error}") from error


class Cache:
    """A temporary folder for what this process fetches. What killed ones have left goes first."""

    def __init__(self) -> None:
        for left in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
            with suppress(OSError), (left / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDERS))
        self._lock = (self._folder / "lock").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def store(self, url: str) -> ObjectStore:
        """The folder for one URL. Raises as `ObjectStore`."""
        return ObjectStore(self._folder / key_of(url), url)

    def close(self) -> None:
        self._lock.close()
        shutil.rmtree(self._folder, ignore_errors=True)
