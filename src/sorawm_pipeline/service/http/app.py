"""The routes put together, behind the guard."""

from __future__ import annotations

from pathlib import Path, PurePath

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from sorawm_pipeline import __version__
from sorawm_pipeline.service.daemon import Daemon
from sorawm_pipeline.service.dashboard import SUFFIXES
from sorawm_pipeline.service.http import job_routes, live, old_routes, service_routes
from sorawm_pipeline.service.http.access import Access, Rate
from sorawm_pipeline.service.http.guard import LOCAL_NAMES, Guard
from sorawm_pipeline.service.http.metrics import Totals
from sorawm_pipeline.service.http.problems import handle_problems
from sorawm_pipeline.service.http.state import State
from sorawm_pipeline.service.http.uploads import Uploads

DASHBOARD = Path(__file__).parents[1] / "dashboard"
ERRORS = (400, 401, 403, 404, 408, 409, 410, 413, 415, 421, 422, 429, 503, 507)


class ProblemTold(BaseModel):
    """What is wrong: a short kind and a sentence."""

    kind: str
    message: str


class ProblemBody(BaseModel):
    error: ProblemTold


class _Page(StaticFiles):
    """The dashboard's files, and nothing else that lies beside them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if PurePath(path).suffix not in SUFFIXES:
            raise HTTPException(404, "there is no such file")
        return await super().get_response(path, scope)


def build(daemon: Daemon, token: str | None) -> tuple[ASGIApp, State]:
    """The app for a daemon, and what its routes share.

    Args:
        daemon: need not run yet.
        token: the secret that clients must know; None: none.
    """
    service = daemon.config.service
    app = FastAPI(
        title="sorawm-pipeline",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        responses={status: {"model": ProblemBody} for status in ERRORS},
    )
    state = State(daemon, Access(token), Uploads(daemon), Totals())
    app.state.served = state
    handle_problems(app)
    for routes in (service_routes, job_routes, live, old_routes):
        app.include_router(routes.router)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(DASHBOARD / "index.html")

    app.mount("/dashboard", _Page(directory=DASHBOARD), name="dashboard")
    hosts = frozenset((*LOCAL_NAMES, service.host.lower())) if token is None else None
    return Guard(app, state.access, Rate(service.rate), hosts), state
