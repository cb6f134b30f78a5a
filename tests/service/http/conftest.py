"""A served daemon with stub workers, and a client that talks to it over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sorawm_pipeline.service.daemon import Daemon
from sorawm_pipeline.service.http import server
from sorawm_pipeline.service.http.state import State
from sorawm_pipeline.service.jobs import JobState
from tests.service.conftest import House

TOKEN = "correct-horse-battery"  # noqa: S105 - of tests


class Client(httpx.AsyncClient):
    """Speaks to one server.

    Attributes:
        daemon: what is served.
        state: what its routes share.
        house: its folders, and the events that it told.
    """

    daemon: Daemon
    state: State
    house: House

    async def send_film(self, text: str = "film", name: str = "a.mp4") -> dict[str, Any]:
        """Upload a clip of the stub's kind; the job."""
        answer = await self.post("/api/uploads", params={"name": name}, content=text.encode())
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def done(self, number: int) -> dict[str, Any]:
        """A job when it has ended."""
        await self.house.until(lambda job: job.state not in RUNNING, number)
        job: dict[str, Any] = (await self.get(f"/api/jobs/{number}")).json()
        return job


async def turn() -> None:
    """Let others work for a moment."""
    await asyncio.sleep(0.005)


RUNNING = (JobState.WAITING, JobState.RUNNING, JobState.STAGED)
Serve = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def serve(house: House, tmp_path: Path) -> Serve:
    """Starts a daemon that is served; keywords are keys of `service`, and `token`."""

    @asynccontextmanager
    async def served(*, token: str | None = None, **service: Any) -> AsyncIterator[Client]:
        chosen = {"port": 0, "uploads": tmp_path / "uploads", "rate": 10_000.0, **service}
        if token is not None:
            secret = tmp_path / "token"
            secret.write_text(token + "\n")
            chosen["token_file"] = secret
        async with house.daemon(**chosen) as daemon:
            config = daemon.config
            taken = server.bound(config)
            url = server.url(config, taken)
            async with (
                server.served(daemon, taken, server.checked_token(config)) as state,
                Client(base_url=url, timeout=20) as client,
            ):
                client.daemon, client.state, client.house = daemon, state, house
                async with asyncio.timeout(20):
                    await daemon.up.wait()
                yield client

    return served
