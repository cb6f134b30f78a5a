"""One file out of a multipart form, as it streams in: nothing of it is kept anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.message import Message
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import (
    MultipartParser,
    parse_options_header,
)

from sorawm_pipeline.service.http.problems import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "video"
LARGEST_HEADER = 8192
BEFORE_FILE, BEFORE_FILE_S = 1 << 20, 60.0
"""Bytes and seconds that may pass before the file begins."""


class FormFile:
    """The file of the field `video` in a form.

    Args:
        content_type: header of the request.
        body: of the request.

    Raises:
        RequestError: the request is no form.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise RequestError(415, "request", f"send a form with the file in its field `{FIELD}`")
        self._body = body
        self._taken = 0
        self._part = _Part()
        try:
            self._parser = MultipartParser(boundary, self._part.callbacks())
        except FormParserError as error:
            raise _broken(error) from error

    async def name(self) -> str:
        """What the client calls the file; reads as far as that is told.

        Raises:
            RequestError: there is no such field, or too much or too long nothing before it.
        """
        try:
            async with asyncio.timeout(BEFORE_FILE_S):
                while self._part.name is None:
                    if self._taken > BEFORE_FILE:
                        raise RequestError(413, "too_large", f"send the field `{FIELD}` first")
                    if not await self._read():
                        raise RequestError(
                            422, "request", f"the form holds no file in the field `{FIELD}`"
                        )
        except TimeoutError:
            raise RequestError(408, "slow", "the form's file did not come; send it again") from None
        return self._part.name

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's content.

        Raises:
            RequestError: the form ends before the file does.
        """
        part = self._part
        while True:
            data, part.data = part.data, []
            for each in data:
                yield each
            if part.ended:
                return
            if not await self._read():
                raise RequestError(400, "request", "the form is cut short")

    async def _read(self) -> bool:
        chunk = await anext(self._body, None)
        if chunk is None:
            return False
        self._taken += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(error) from error
        return True


class _Part:
    """What the parser tells of the form's parts; keeps the first file in the field."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.ended = False
        self.data: list[bytes] = []
        self._field = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._ours = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._field = self._value = b""
        self._headers = {}
        self._ours = False

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field = _longer(self._field, data[start:end])

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value = _longer(self._value, data[start:end])

    def _header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        if self.name is not None:
            return
        said = Message()
        said["content-disposition"] = self._headers.get(b"content-disposition", b"").decode(
            "utf-8", "replace"
        )
        if said.get_param("name", header="content-disposition") == FIELD:
            self._ours = True
            self.name = said.get_filename("upload")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._ours:
            self.data.append(data[start:end])

    def _end(self) -> None:
        self.ended = self.ended or self._ours


def _longer(text: bytes, more: bytes) -> bytes:
    if len(text) + len(more) > LARGEST_HEADER:
        raise RequestError(400, "request", "a header in the form is too long")
    return text + more


def _broken(error: Exception) -> RequestError:
    return RequestError(400, "request", f"the form cannot be read: {error}")
