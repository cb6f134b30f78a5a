"""Uploads that are too large, too slow, too many, cut short, or of a strange name."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.service import space
from sorawm_pipeline.service.http import uploads
from sorawm_pipeline.service.http.uploads import harmless
from sorawm_pipeline.service.names import is_input
from tests.service.http.conftest import Client, Serve, turn


def kept(client: Client) -> list[Path]:
    folder = client.state.uploads.folder
    return list(folder.iterdir()) if folder.exists() else []


async def answer_to(
    client: Client, *chunks: bytes, then: bytes = b"", between: Callable[[], object] = lambda: None
) -> tuple[int, str]:
    """Status and kind of error for a body sent in chunks, then one again and again.

    With a plain socket, because a server that answers early may reset the connection after that.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as line:
        line.setblocking(False)
        await loop.sock_connect(line, ("127.0.0.1", client.base_url.port))

        async def send(chunk: bytes) -> None:
            await loop.sock_sendall(line, f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

        async def send_all() -> None:
            with suppress(ConnectionError):
                await loop.sock_sendall(
                    line,
                    b"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n",
                )
                for chunk in chunks:
                    await send(chunk)
                between()
                while then:
                    await send(then)

        received = b""
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            sending = group.create_task(send_all())
            with suppress(ConnectionError):
                while more := await loop.sock_recv(line, 65536):
                    received += more
            sending.cancel()
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["kind"]


async def until_none_is_kept(client: Client) -> None:
    async with asyncio.timeout(10):
        while kept(client) or client.state.uploads.under_way:
            await turn()


async def test_a_body_that_says_it_is_too_large_is_not_read(serve: Serve) -> None:
    async with serve(upload_max=100) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(
            b"POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n"
        )
        async with asyncio.timeout(10):
            assert b" 413 " in await reader.readline()
        writer.close()
        assert kept(client) == []


async def test_a_body_that_turns_out_too_large_is_cut_off(serve: Serve) -> None:
    async with serve(upload_max=100_000) as client:
        assert await answer_to(client, then=b"x" * 10_000) == (413, "too_large")
        await until_none_is_kept(client)


@pytest.mark.parametrize("path", ["/api/uploads", "/submit_remove_task"])
async def test_a_client_that_goes_away_leaves_nothing(serve: Serve, path: str) -> None:
    async with serve() as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        form = b"multipart/form-data; boundary=B"
        head = b"--B\r\nContent-Disposition: form-data; name=video; filename=a.mp4\r\n\r\n"
        writer.write(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n")
        writer.write(b"Content-Length: 100000\r\nContent-Type: " + form + b"\r\n\r\n" + head)
        await writer.drain()
        async with asyncio.timeout(10):
            while not kept(client):
                await turn()
        writer.transport.abort()
        await until_none_is_kept(client)
        assert (await client.get("/api/jobs")).json()["jobs"] == []


async def test_a_client_that_says_nothing_more_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SILENCE_S", 0.05)
    async with serve() as client:
        assert await answer_to(client, b"film") == (408, "slow")
        await until_none_is_kept(client)


async def test_a_client_that_trickles_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SILENCE_S", 0.1)
    monkeypatch.setattr(uploads, "SLOWEST", 1 << 40)
    async with serve() as client:
        assert await answer_to(client, then=b"film") == (408, "slow")
        await until_none_is_kept(client)


async def test_no_more_at_once_than_allowed(serve: Serve) -> None:
    async with serve(uploads_at_once=1) as client:
        go_on, begun = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"film "
            begun.set()
            await go_on.wait()
            yield b"slow to come"

        async with asyncio.TaskGroup() as group:
            first = group.create_task(client.post("/api/uploads", content=slow()))
            await begun.wait()
            async with asyncio.timeout(10):
                while not client.state.uploads.under_way:
                    await turn()
            second = await client.post("/api/uploads", content=b"film")
            assert (second.status_code, second.json()["error"]["kind"]) == (503, "busy")
            go_on.set()
        assert first.result().status_code == 201
        assert (await client.post("/api/uploads", content=b"film two")).status_code == 201


async def test_a_full_disk_is_told_before_and_during(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as client:
        room = [10**6]
        monkeypatch.setattr(space, "free_bytes", lambda _: room[0])
        monkeypatch.setattr(uploads, "LOOK_BYTES", 1000)
        answer = await client.post("/api/uploads", content=b"x" * (10**6 + 1))
        assert (answer.status_code, answer.json()["error"]["kind"]) == (507, "no_space")

        def fill() -> None:
            room[0] = -1

        told = await answer_to(client, b"x" * 2000, then=b"x" * 2000, between=fill)
        assert told == (507, "no_space")
        await until_none_is_kept(client)


async def test_a_disk_that_fails_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, chunk: bytes) -> None:
        raise OSError(28, os.strerror(28))

    async with serve() as client:
        monkeypatch.setattr(uploads, "_write_all", full)
        answer = await client.post("/api/uploads", content=b"film")
        assert answer.status_code == 507
        assert "No space left" in answer.json()["error"]["message"]
        await until_none_is_kept(client)


async def test_an_empty_body_is_refused(serve: Serve) -> None:
    async with serve() as client:
        assert (await client.post("/api/uploads", content=b"")).status_code == 422


@given(st.text(max_size=300))
def test_whatever_it_is_called_the_name_is_harmless(name: str) -> None:
    made = harmless(name, "0123abcd")
    assert len(made.encode()) < 100
    assert Path(made).name == made
    assert made.isascii()
    assert made.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert is_input(Path(made), ())
    assert not made.startswith(("-", "."))


@pytest.mark.parametrize(
    ("given", "kept_as"),
    [
        ("../../etc/passwd", "passwd-T"),
        ("C:\\films\\a.MOV", "a-T.mov"),
        ("a.mp4.exe", "a-mp4-exe-T"),
        (".mp4", "upload-T.mp4"),
        ("日本.webm", "upload-T.webm"),
        ("-rf.mkv", "rf-T.mkv"),
    ],
)
def test_names(given: str, kept_as: str) -> None:
    assert harmless(given, "T") == kept_as


async def test_old_uploads_go_when_their_jobs_have_ended(serve: Serve) -> None:
    async with serve(uploads_keep_s=0.0) as client:
        done = await client.send_film("film done")
        await client.done(done["id"])
        slow = await client.send_film("film slow")
        await client.house.until(lambda job: job.state == "running", slow["id"])
        orphan = client.state.uploads.folder / harmless("orphan.mp4", "0123456789abcdef")
        orphan.write_text("film")
        foreign = client.state.uploads.folder / "holidays-2024.mp4"
        foreign.write_text("film of somebody's own")
        half = client.state.uploads.folder / ".sorawm-upload-00000000"
        half.write_text("fi")
        await client.state.uploads.sweep()
        assert not half.exists()
        async with asyncio.timeout(10):
            while len(kept(client)) > 2:
                await client.state.uploads.clear()
        assert {str(path) for path in kept(client)} == {slow["source"], str(foreign)}


async def test_the_upload_of_a_paused_job_stays(serve: Serve) -> None:
    async with serve(uploads_keep_s=0.0) as client:
        slow = await client.send_film("film slow")
        await client.house.until(lambda job: job.state == "running", slow["id"])
        answer = await client.post(f"/api/jobs/{slow['id']}/pause")
        assert answer.json()["state"] == "paused"
        await client.state.uploads.clear()
        assert [str(path) for path in kept(client)] == [slow["source"]]


async def test_an_upload_under_way_is_not_swept_away(serve: Serve) -> None:
    async with serve() as client:
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"film "
            await go_on.wait()
            yield b"to the end"

        async with asyncio.TaskGroup() as group, asyncio.timeout(10):
            sending = group.create_task(client.post("/api/uploads", content=slow()))
            while not kept(client):
                await turn()
            await client.state.uploads.sweep()
            go_on.set()
            answer = await sending
        assert answer.status_code == 201, answer.text
        assert Path(answer.json()["source"]).read_bytes() == b"film to the end"


@pytest.mark.parametrize("step", ["_create", "_settle"])
async def test_a_disk_that_fails_at_either_end_is_told(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: Path) -> None:
        raise OSError(5, os.strerror(5))

    async with serve() as client:
        monkeypatch.setattr(uploads, step, fail)
        answer = await client.post("/api/uploads", content=b"film")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (507, "no_space")
        await until_none_is_kept(client)


def test_each_ledger_has_uploads_of_its_own(tmp_path: Path) -> None:
    one, two = (
        uploads.folder_of(PipelineConfig.model_validate({"service": {"ledger": tmp_path / name}}))
        for name in ("one.sqlite3", "two.sqlite3")
    )
    assert one != two
