"""How the service itself is: health, state, metrics, sessions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from sorawm_pipeline.service.http.access import SESSION_S
from sorawm_pipeline.service.http.guard import COOKIE, session_of
from sorawm_pipeline.service.http.metrics import Snapshot, exposition
from sorawm_pipeline.service.http.problems import RequestError
from sorawm_pipeline.service.http.state import Served
from sorawm_pipeline.service.http.views import StatusView

router = APIRouter(tags=["service"])


class Token(BaseModel):
    token: str = Field(max_length=4096)


class Session(BaseModel):
    """Whether a token is needed at all, and whether this client may come in as it is."""

    token_needed: bool
    signed_in: bool


class Readiness(BaseModel):
    ready: bool
    reasons: list[str]


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """Answers while the daemon turns."""
    return "ok\n"


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(served: Served) -> JSONResponse:
    """Whether new jobs would be worked at, and if not, what is in the way: a topic, no details."""
    reasons = ["starting"]
    if served.daemon.up.is_set():
        status = served.daemon.status()
        reasons = sorted(status.paused)
        if status.stopping:
            reasons.append("stopping")
        if status.watched is not None and not status.watching:
            reasons.append("watched folder missing")
    body = Readiness(ready=not reasons, reasons=reasons)
    return JSONResponse(body.model_dump(), 503 if reasons else 200)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(served: Served) -> Response:
    """For Prometheus."""
    jobs, failures = await served.ask(lambda ledger: (ledger.counts(), ledger.failures()))
    status = served.daemon.status()
    snapshot = Snapshot(status, jobs, failures, served.totals, served.uploads.under_way)
    return Response(exposition(snapshot), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/status")
async def status(served: Served) -> StatusView:
    """The daemon at this moment."""
    return await served.status()


@router.get("/api/session")
async def session(served: Served, request: Request) -> Session:
    """Whether this client may come in."""
    needed = served.access.needed
    authorization = request.headers.get("authorization")
    signed_in = served.access.allows(authorization, session_of(request.headers))
    return Session(token_needed=needed, signed_in=signed_in)


@router.post("/api/session", status_code=204)
async def sign_in(served: Served, request: Request, token: Token) -> Response:
    """Exchange the token for a cookie, which browsers send with pictures and videos too."""
    response = Response(status_code=204)
    if not served.access.needed:
        return response
    client = request.client.host if request.client else ""
    if not served.tries.allows(client):
        raise RequestError(429, "rate", "too many tries; wait a moment")
    if not served.access.is_token(token.token):
        raise RequestError(401, "token", "that is not the token")
    response.set_cookie(
        COOKIE,
        served.access.open_session(),
        max_age=int(SESSION_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.delete("/api/session", status_code=204)
async def sign_out(served: Served, request: Request) -> Response:
    """End the session."""
    if (known := session_of(request.headers)) is not None:
        served.access.close_session(known)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
