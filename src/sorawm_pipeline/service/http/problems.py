"""Errors as responses: `{"error": {"kind": ..., "message": ...}}`, a sentence to act on."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.report import readable

STATUS_OF_KIND = {"exists": 409, "no_space": 507, "device": 503, "crashed": 422, "stuck": 422}
"""HTTP status of a PipelineError; any other kind is the file's fault, 422."""

log = get_logger(__name__)


class RequestError(Exception):
    """A request that cannot be fulfilled: HTTP status, a short kind, one sentence."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


UNREAD = (408, 413, 503, 507)
"""Answers that may come before a body was read: what is left of it is not waited for."""


def answer(status: int, kind: str, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status in UNREAD:
        headers["Connection"] = "close"
    body = {"error": {"kind": kind, "message": readable(message)}}
    return JSONResponse(body, status, headers)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return answer(error.status, error.kind, error.message)


async def _pipeline_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PipelineError)
    return answer(STATUS_OF_KIND.get(error.kind, 422), error.kind, error.message)


async def _lookup(_: Request, error: Exception) -> JSONResponse:
    return answer(404, "unknown", str(error.args[0]) if error.args else "there is no such job")


async def _ledger(_: Request, error: Exception) -> JSONResponse:
    log.warning("the ledger did not answer a request", reason=str(error))
    return answer(503, "ledger", "the ledger cannot be read or written at the moment")


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = {404: "unknown", 405: "method"}.get(error.status_code, "request")
    response = answer(error.status_code, kind, str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    told = "; ".join(
        f"{'.'.join(str(part) for part in each['loc'][1:]) or 'the body'}: {each['msg']}"
        for each in error.errors()
    )
    return answer(422, "request", told)


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]] = {
    RequestError: _problem,
    PipelineError: _pipeline_error,
    LookupError: _lookup,
    sqlite3.Error: _ledger,
    HTTPException: _http,
    RequestValidationError: _invalid,
}


def handle_problems(app: FastAPI) -> None:
    """Have all errors that are expected answered as this module's docstring says."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
