"""What every request meets first: whose host it names, where it comes from, who it is, how often.

Pure ASGI, so that bodies stream through untouched.
"""

from __future__ import annotations

import asyncio
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sorawm_pipeline.service.http.access import Access, Rate
from sorawm_pipeline.service.http.problems import answer

COOKIE = "sorawm-session"
SMALL_BODY = 64 * 1024
"""Bytes of the largest body where nothing is uploaded."""

SMALL_BODY_S = 20.0
"""Seconds that such a body may take to arrive."""

UPLOADS = ("/api/uploads", "/submit_remove_task")
OPEN = ("/", "/healthz", "/readyz", "/api/session")
OPEN_BELOW = "/dashboard/"
"""What may be seen without the token: nothing there tells of jobs."""

SAFE = ("GET", "HEAD", "OPTIONS")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Answers what may not come in, and adds `HEADERS` to every answer.

    Args:
        app: what stands behind.
        access: says who may come in.
        rate: says how often.
        hosts: names by which requests must call this server, lest another site's name that was
            turned to this address (DNS rebinding) reaches it; None: any, for then there is a token.
    """

    def __init__(
        self, app: ASGIApp, access: Access, rate: Rate, hosts: frozenset[str] | None
    ) -> None:
        self._app = app
        self._access = access
        self._rate = rate
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    told.setdefault(name, value)
                page = scope["path"] == "/" or scope["path"].startswith(OPEN_BELOW)
                # The page's modules change together, with an upgrade: each is asked for anew.
                told.setdefault("Cache-Control", "no-cache" if page else "no-store")
            await send(message)

        if (refusal := self._refusal(scope, headers)) is not None:
            await answer(*refusal)(scope, receive, send_guarded)
            return
        if scope["path"] not in UPLOADS:
            receive = _small(receive)
        await self._app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        """Status, kind and sentence of what speaks against a request."""
        client = (scope.get("client") or ("", 0))[0]
        if not self._rate.allows(client):
            return 429, "rate", "too many requests from this address; see service.rate"
        host = _host(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return 421, "host", "this server is not called by that name; see service.host"
        path: str = scope["path"]
        if scope["method"] not in SAFE and _foreign(headers):
            return 403, "origin", "requests that change something must come from this server's page"
        length = headers.get("content-length", "0")
        if path not in UPLOADS and (not length.isdigit() or int(length) > SMALL_BODY):
            return 413, "too_large", f"a body of more than {SMALL_BODY} bytes is not taken here"
        if path in OPEN or path.startswith(OPEN_BELOW):
            return None
        if not self._access.allows(headers.get("authorization"), session_of(headers)):
            return 401, "token", "this needs the token of service.token_file"
        return None


def session_of(headers: Headers) -> str | None:
    """The session that a request's cookies name."""
    try:
        morsel: Any = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if morsel is None else str(morsel.value)


def _small(receive: Receive) -> Receive:
    """Cuts a body off where it gets too long, or takes too long."""
    taken, whole = 0, False
    deadline = asyncio.get_running_loop().time() + SMALL_BODY_S

    async def counted() -> Message:
        nonlocal taken, whole
        if whole:  # what is waited for now is the client's leaving
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        taken += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if taken > SMALL_BODY:
            return {"type": "http.disconnect"}
        return message

    return counted


def _host(value: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


def _foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page sends a request."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True
