"""Files of jobs as responses, with ranges: only what the ledger knows, while it is that."""

from __future__ import annotations

import mimetypes
import os
import stat
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from sorawm_pipeline.report import readable
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.identity import of_status
from sorawm_pipeline.service.jobs import Fingerprint
from sorawm_pipeline.service.threads import Desk


class OpenFile(FileResponse):
    """A file that is open already, so that nobody can put another in its place."""

    def __init__(self, file: int, name: Path, *, save: bool) -> None:
        self._file = file
        super().__init__(
            f"/dev/fd/{file}",
            stat_result=os.fstat(file),
            filename=str(readable(name.name)),
            media_type=media_type(name),
            headers={"Cache-Control": "private, no-cache"},
            content_disposition_type="attachment" if save else "inline",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._file)


async def response(path: Path, known: Fingerprint | None, *, save: bool) -> OpenFile:
    """The file at `path`, if it looks as the ledger says.

    Raises:
        RequestError: it does not, or cannot be read.
    """
    desk = Desk("download")
    try:
        file = await desk.call(lambda: _opened(path, known))
    finally:
        await desk.close()
    return OpenFile(file, path, save=save)


def media_type(name: Path) -> str:
    """A video's, or bytes without a meaning: never what a browser would run."""
    guessed, _ = mimetypes.guess_type(f"x{name.suffix.lower()}")
    return guessed if guessed and guessed.startswith("video/") else "application/octet-stream"


def _opened(path: Path, known: Fingerprint | None) -> int:
    gone = RequestError(410, "gone", "the file is not there any more, or has been changed since")
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise gone from error
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or of_status(status) != known:
        os.close(file)
        raise gone
    return file
