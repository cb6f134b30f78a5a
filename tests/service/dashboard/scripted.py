"""A service that answers as the daemon's HTTP surface does, with what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sorawm_pipeline.service import dashboard
from sorawm_pipeline.service.http.guard import COOKIE, HEADERS
from sorawm_pipeline.service.http.views import JobView

Json = dict[str, Any]

PATIENCE_S = 10.0


class ScriptedService:
    """The state that is answered, and events that are told.

    Attributes:
        status: of GET /api/status.
        jobs: by id; `tries` and `report` of the details in `details`.
        files: what `result` and `source` of a job are, by (id, name).
        token: what must be signed in with, or None.
        asked: method and path of each request that changes something.
        silent: there is no stream of events.
        hold_uploads: uploads stay at what has been read so far until it is set.
    """

    def __init__(self) -> None:
        self.hold_uploads = threading.Event()
        self._listeners: set[asyncio.Queue[tuple[str, Json] | None]] = set()
        self.reset({}, [])
        config = uvicorn.Config(self._app(), log_level="warning", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="scripted-service")
        self._socket = socket.create_server(("127.0.0.1", 0))  # listens before it is served

    def reset(self, status: Json, jobs: list[Json]) -> None:
        self.status = status
        self.jobs = {job["id"]: job for job in jobs}
        self.details: dict[int, Json] = {}
        self.files: dict[tuple[int, str], Path] = {}
        self.token: str | None = None
        self.asked: list[str] = []
        self.uploaded: dict[str, int] = {}
        self.silent = False
        self.hold_uploads.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def tell(self, name: str, data: Json) -> None:
        """Send an event to everybody who listens, in order."""
        self._loop.call_soon_threadsafe(self._pass_on, (name, data))

    def change(self, job: int, **fields: Any) -> Json:
        """Change a job and tell of it."""
        self.jobs[job] = {**self.jobs[job], **fields}
        self.tell("job", self.jobs[job])
        return self.jobs[job]

    def hang_up(self) -> None:
        """End all streams of events."""
        self._loop.call_soon_threadsafe(self._pass_on, None)

    def _pass_on(self, event: tuple[str, Json] | None) -> None:
        for queue in self._listeners:
            queue.put_nowait(event)

    def _serve(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[self._socket])

        asyncio.run(serve())

    def _app(self) -> ASGIApp:
        app = FastAPI()

        @app.get("/")
        async def page() -> Response:
            return _asset("index.html")

        @app.get("/dashboard/{name:path}")
        async def asset(name: str) -> Response:
            return _asset(name)

        self._sessions(app)
        self._reads(app)
        self._acts(app)

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope)
            if request.method != "GET":
                self.asked.append(f"{request.method} {request.url.path}")
            if self._allowed(request):
                await app(scope, receive, send)
            else:
                refusal = _error(401, "token", "Sign in with the service's token.")
                await refusal(scope, receive, send)

        return guarded

    def _allowed(self, request: Request) -> bool:
        open_ = not request.url.path.startswith("/api/") or request.url.path == "/api/session"
        return open_ or self.token is None or request.cookies.get(COOKIE) == self.token

    def _sessions(self, app: FastAPI) -> None:
        @app.get("/api/session")
        async def session(request: Request) -> Json:
            signed = self.token is None or request.cookies.get(COOKIE) == self.token
            return {"token_needed": self.token is not None, "signed_in": signed}

        @app.post("/api/session")
        async def sign_in(request: Request) -> Response:
            if (await request.json())["token"] != self.token:
                return _error(401, "token", "That token is wrong.")
            response = Response(status_code=204)
            response.set_cookie(COOKIE, self.token or "", httponly=True, samesite="strict")
            return response

        @app.delete("/api/session")
        async def sign_out() -> Response:
            response = Response(status_code=204)
            response.delete_cookie(COOKIE)
            return response

    def _reads(self, app: FastAPI) -> None:
        @app.get("/api/jobs")
        async def jobs(state: str = "", before: int | None = None, limit: int = 50) -> Json:
            found = [
                job
                for number, job in sorted(self.jobs.items(), reverse=True)
                if state in ("", job["state"]) and (before is None or number < before)
            ]
            more = len(found) > limit
            return {"jobs": found[:limit], "next": found[limit - 1]["id"] if more else None}

        @app.get("/api/jobs/{number}")
        async def job(number: int) -> Json:
            return {
                "tries": [],
                "report": None,
                **self.jobs[number],
                **self.details.get(number, {}),
            }

        @app.get("/api/jobs/{number}/{name}")
        async def file(number: int, name: str) -> Response:
            path = self.files.get((number, name))
            if path is None:
                return _error(404, "missing", "The file is not there any more.")
            return FileResponse(path)

        @app.get("/api/events")
        async def events() -> Response:
            if self.silent:
                return _error(503, "stopping", "The service is stopping.")
            return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            event: tuple[str, Json] | None = ("status", self.status)
            while event is not None:
                yield f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n"
                event = await queue.get()
        finally:
            self._listeners.discard(queue)

    def _acts(self, app: FastAPI) -> None:
        @app.post("/api/uploads")
        async def upload(request: Request, name: str) -> Response:
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
                while not self.hold_uploads.is_set():  # noqa: ASYNC110 - an event of threads
                    await asyncio.sleep(0.01)
            self.uploaded[name] = size
            return JSONResponse(self._new(name), 201)

        @app.post("/api/jobs")
        async def submit(request: Request) -> Response:
            path = (await request.json())["path"]
            if not path.startswith("/srv/video/"):
                return _error(403, "outside", f"{path} is outside the folders that may be read.")
            return JSONResponse(self._new(path.rpartition("/")[2]), 201)

        @app.post("/api/jobs/{number}/pause")
        async def pause(number: int) -> Json:
            return self.change(number, state="paused")

        @app.post("/api/jobs/{number}/resume")
        async def resume(number: int) -> Json:
            return self.change(number, state="waiting")

        @app.post("/api/jobs/{number}/cancel")
        async def cancel(number: int) -> Json:
            return self.change(number, state="cancelled")

        @app.post("/api/jobs/{number}/retry")
        async def retry(number: int) -> Json:
            return self.change(number, state="waiting", error=None)

        @app.delete("/api/jobs/{number}")
        async def forget(number: int) -> Response:
            del self.jobs[number]
            return Response(status_code=204)

    def _new(self, name: str) -> Json:
        number = max(self.jobs, default=0) + 1
        told = JobView(
            id=number,
            name=name,
            state="waiting",
            created=1_790_000_000.0,
            started=None,
            finished=None,
            attempts=0,
            source=f"/srv/video/{name}",
            output=None,
            same_as=None,
            error=None,
        )
        job = told.model_dump(mode="json")
        self.jobs[number] = job
        self.tell("job", job)
        return job


def _asset(name: str) -> Response:
    path = dashboard.FOLDER / name
    if path.suffix not in dashboard.SUFFIXES or not path.is_file():
        return _error(404, "missing", "There is no such file.")
    kind = mimetypes.guess_type(name)[0]
    return Response(path.read_bytes(), media_type=kind, headers=HEADERS)


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"error": {"kind": kind, "message": message}}, status)
