"""Who may come in: tokens, sessions, hosts, origins, rates."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.service.http import guard, server
from sorawm_pipeline.service.http.access import (
    BURST,
    CLIENTS,
    SESSION_S,
    SESSIONS,
    Access,
    Rate,
    is_loopback,
    read_token,
)
from tests.service.http.conftest import TOKEN, Serve

CLOSED = [
    ("GET", "/api/status"),
    ("GET", "/api/jobs"),
    ("GET", "/api/jobs/1"),
    ("GET", "/api/jobs/1/result"),
    ("GET", "/api/jobs/1/source"),
    ("POST", "/api/jobs"),
    ("POST", "/api/uploads"),
    ("POST", "/api/jobs/1/cancel"),
    ("POST", "/api/jobs/1/retry"),
    ("POST", "/api/jobs/1/pause"),
    ("POST", "/api/jobs/1/resume"),
    ("DELETE", "/api/jobs/1"),
    ("GET", "/api/events"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/nothing"),
    ("POST", "/submit_remove_task"),
    ("GET", "/get_results?remove_task_id=1"),
    ("GET", "/download/1"),
    ("GET", "/dashboard"),
]


async def test_a_small_body_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SMALL_BODY_S", 0.05)
    never = asyncio.Event()

    async def trickle() -> Message:
        await never.wait()
        raise AssertionError

    async def whole() -> Message:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async with asyncio.timeout(10):
        assert await guard._small(trickle)() == {"type": "http.disconnect"}
        received = guard._small(whole)
        assert (await received())["body"] == b"x"
        await asyncio.sleep(0.1)  # what comes after the body, the client's leaving, has no deadline
        assert (await received())["body"] == b"x"


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_without_the_token_nothing_is_told(serve: Serve, method: str, path: str) -> None:
    async with serve(token=TOKEN) as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong-horse-battery"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": "Bearer"},
            {"Cookie": f"sorawm-session={TOKEN}"},
            {"Cookie": "sorawm-session=; x=\\x00;;;"},
        ):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == 401, headers
            assert answer.json()["error"]["kind"] == "token"
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_is_in_that_list_or_open(serve: Serve) -> None:
    async with serve() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    open_ones = {"/healthz", "/readyz", "/api/session"}
    closed = {path.partition("?")[0].replace("/1", "/{}") for _, path in CLOSED}
    told = {path.replace("{number}", "{}").replace("{task_id}", "{}") for path in paths}
    assert told <= closed | open_ones


async def test_with_the_token_and_by_a_session(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/")).status_code == 200
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await client.get("/api/status", headers=bearer)).status_code == 200
        asked = (await client.get("/api/session")).json()
        assert asked == {"token_needed": True, "signed_in": False}
        assert (await client.post("/api/session", json={"token": "no"})).status_code == 401
        opened = await client.post("/api/session", json={"token": TOKEN})
        assert opened.status_code == 204
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert (await client.get("/api/status")).status_code == 200
        assert (await client.get("/api/session")).json()["signed_in"] is True
        assert (await client.delete("/api/session")).status_code == 204
        client.cookies.clear()
        stolen = {"Cookie": cookie.partition(";")[0]}
        assert (await client.get("/api/status", headers=stolen)).status_code == 401


async def test_tokens_cannot_be_guessed_quickly(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        statuses = [
            (await client.post("/api/session", json={"token": f"guess {n}"})).status_code
            for n in range(20)
        ]
        assert statuses[0] == 401
        assert statuses.count(429) > 10


async def test_without_a_token_a_session_is_not_needed(serve: Serve) -> None:
    async with serve() as client:
        assert (await client.get("/api/session")).json() == {
            "token_needed": False,
            "signed_in": True,
        }
        assert (await client.post("/api/session", json={"token": "x"})).status_code == 204


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:5344", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
async def test_another_name_turned_to_this_address(serve: Serve, host: str, status: int) -> None:
    async with serve() as client:
        answer = await client.get("/api/status", headers={"Host": host})
        assert answer.status_code == status


async def test_behind_a_proxy_with_a_token_any_name_will_do(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        headers = {"Host": "videos.example", "Authorization": f"Bearer {TOKEN}"}
        assert (await client.get("/api/status", headers=headers)).status_code == 200
        own = headers | {"Origin": "https://videos.example"}
        assert (await client.delete("/api/jobs/1", headers=own)).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://["},
    ],
)
async def test_another_sites_page_changes_nothing(serve: Serve, headers: dict[str, str]) -> None:
    async with serve() as client:
        for method, path in (
            ("POST", "/api/uploads"),
            ("POST", "/submit_remove_task"),
            ("DELETE", "/api/jobs/1"),
            ("POST", "/api/session"),
        ):
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "origin")
        own = str(client.base_url).rstrip("/")
        answer = await client.delete("/api/jobs/1", headers={"Origin": own})
        assert answer.status_code == 404


async def test_no_other_origin_is_let_in(serve: Serve) -> None:
    async with serve() as client:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for answer in (
            await client.options("/api/jobs", headers=headers),
            await client.get("/api/jobs", headers=headers),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_every_answer_has_the_headers(serve: Serve) -> None:
    async with serve(token=TOKEN) as client:
        for path in ("/", "/healthz", "/api/jobs", "/dashboard/none.js", "/nothing"):
            headers = (await client.get(path)).headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers


async def test_no_file_beside_the_dashboard(serve: Serve) -> None:
    async with serve() as client:
        for path in (
            "__init__.py",
            "__pycache__/",
            "",
            "../daemon.py",
            "..%2fdaemon.py",
            "%2e%2e/daemon.py",
            "/etc/passwd",
            "%00",
        ):
            assert (await client.get(f"/dashboard/{path}")).status_code in (404, 405)


async def test_the_page_is_asked_for_anew_each_time(serve: Serve) -> None:
    async with serve() as client:
        for path in ("/", "/dashboard/index.html"):
            answer = await client.get(path)
            assert answer.headers["cache-control"] == "no-cache"
            known = {"If-None-Match": answer.headers["etag"]}
            assert (await client.get(path, headers=known)).status_code in (200, 304)
        assert (await client.get("/api/jobs")).headers["cache-control"] == "no-store"


async def test_bodies_are_small_where_nothing_is_uploaded(serve: Serve) -> None:
    async with serve() as client:
        long = {"path": "x" * 100_000}
        assert (await client.post("/api/jobs", json=long)).status_code == 413
        assert (await client.post("/api/jobs", content=b"{" * 100)).status_code == 422


async def test_too_many_requests(serve: Serve) -> None:
    async with serve(rate=1.0) as client:
        statuses = [(await client.get("/healthz")).status_code for _ in range(12)]
        assert statuses[: int(BURST)] == [200] * int(BURST)
        assert 429 in statuses


def test_rates_are_for_each_client_and_come_back() -> None:
    now = [0.0]
    rate = Rate(2.0, lambda: now[0])
    assert [rate.allows("a") for _ in range(10)] == [True] * 8 + [False] * 2
    assert rate.allows("b")
    now[0] = 0.5
    assert [rate.allows("a") for _ in range(2)] == [True, False]
    for number in range(2 * CLIENTS):
        rate.allows(str(number))
    assert len(rate._clients) == CLIENTS


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.1, 50))
def test_no_client_ever_gets_more_than_its_rate(pauses: list[float], per_second: float) -> None:
    now = [0.0]
    rate = Rate(per_second, lambda: now[0])
    allowed = 0
    for pause in pauses:
        now[0] += pause
        allowed += rate.allows("a")
    assert allowed <= max(1.0, BURST * per_second) + per_second * now[0] + 1e-6


def test_sessions_end_and_are_bounded() -> None:
    now = [0.0]
    access = Access(TOKEN, lambda: now[0])
    first = access.open_session()
    assert access.allows(None, first)
    now[0] = SESSION_S
    assert not access.allows(None, first)
    sessions = [access.open_session() for _ in range(SESSIONS + 1)]
    assert not access.allows(None, sessions[0])
    assert access.allows(None, sessions[1])
    access.close_session(sessions[1])
    assert not access.allows(None, sessions[1])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "")],  # noqa: S104
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def config(**service: object) -> PipelineConfig:
    return PipelineConfig.model_validate({"service": service})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])  # noqa: S104
def test_beyond_this_machine_a_token_is_required(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"service\.token_file"):
        server.checked_token(config(host=host))
    (tmp_path / "token").write_text(TOKEN)
    assert server.checked_token(config(host=host, token_file=str(tmp_path / "token"))) == TOKEN


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 5000, "gehörig geheimes Wort".encode()])
def test_tokens_that_are_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match="must hold 16 to 4096 ASCII characters"):
        read_token(tmp_path / "token")
    with pytest.raises(ConfigError, match="No such file"):
        read_token(tmp_path / "none")


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="another program listens there"):
            server.bound(config(port=other.getsockname()[1]))
    with pytest.raises(ConfigError, match=r"service\.host"):
        server.bound(config(host="no such host"))
