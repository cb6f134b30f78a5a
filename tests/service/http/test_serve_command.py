"""`serve` as a program, with a real worker: from an upload to a cleaned clip."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.clips import Clip
from tests.service.http.conftest import TOKEN, turn


@asynccontextmanager
async def served(folder: Path, yaml: str, *words: str) -> AsyncIterator[tuple[str, int]]:
    """A program that serves; its URL and process id. It must end well when told to."""
    (folder / "pipeline.yaml").write_text(yaml)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sorawm_pipeline", *words),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
    )
    assert program.stderr is not None
    try:
        async with asyncio.timeout(60):
            line = (await program.stderr.readline()).decode()
            assert line.startswith("dashboard: http://127.0.0.1:"), line
            yield line.split()[1], program.pid
            program.send_signal(signal.SIGTERM)
            await program.stderr.read()
            assert await program.wait() == 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


@pytest.mark.slow
async def test_an_uploaded_clip_is_cleaned(
    tmp_path: Path, make_clip: Callable[[str, Clip], Path]
) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    yaml = f"""
device: cpu
output: {{folder: {tmp_path / "out"}}}
service: {{token_file: {secret}, min_free: 0}}
"""
    clip = make_clip("clip.mp4", Clip(frames=12))
    words = "serve", str(tmp_path / "pipeline.yaml"), "--port", "0"
    async with (
        served(tmp_path, yaml, *words) as (url, _),
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await turn()
        sent = await client.post("/api/uploads?name=clip.mp4", content=clip.read_bytes())
        job = sent.json()
        while (job := (await client.get(f"/api/jobs/{job['id']}")).json())["state"] != "done":
            assert job["state"] in ("waiting", "running", "staged"), job
            await turn()
        assert job["report"]["frames"]["encoded"] == job["frames"] == 12
        result = await client.get(f"/api/jobs/{job['id']}/result")
        assert result.content[4:8] == b"ftyp"
        assert len(job["tries"]) == 1
        assert (await client.get("/metrics")).text.count("sorawm_frames_total 12.0") == 1


async def test_a_watching_daemon_serves_too_if_asked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    yaml = f"""
device: cpu
input: {{watch: {tmp_path / "in"}}}
output: {{folder: {tmp_path / "out"}}}
service: {{http: true, port: 0}}
"""
    words = "run", str(tmp_path / "pipeline.yaml")
    async with (
        served(tmp_path, yaml, *words) as (url, _),
        httpx.AsyncClient(base_url=url) as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await turn()
        assert (await client.get("/api/status")).json()["watched"] == str(tmp_path / "in")


async def test_it_refuses_to_be_open_to_the_world(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("")
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sorawm_pipeline", "serve", str(tmp_path / "pipeline.yaml")),
        *("--host", "0.0.0.0", "--port", "0"),  # noqa: S104
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )
    async with asyncio.timeout(60):
        _, told = await program.communicate()
    assert program.returncode == 2
    assert b"service.token_file" in told
