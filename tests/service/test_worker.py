"""The real worker: real clips, what it gives up, and what it may not reach."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sorawm_pipeline.config import DetectConfig, LogConfig, PipelineConfig, ProvenanceConfig
from sorawm_pipeline.errors import ConfigError, DeviceError, InputError
from sorawm_pipeline.service import confine, identity, inspection, wire, worker_main
from sorawm_pipeline.service.worker import PROGRAM, Bounds, WorkerProcess
from tests.clips import Clip, audio_only, rgb

BOUNDS = Bounds(memory=4 << 30, deadline_s=60.0)
MUCH = 1 << 30
CONFIG = PipelineConfig(
    device="cpu", detect=DetectConfig(weights="none"), log=LogConfig(level="error")
)


@pytest.fixture
async def worker() -> AsyncIterator[WorkerProcess]:
    async with asyncio.timeout(60):
        worker = await WorkerProcess.start(CONFIG, BOUNDS)
        yield worker
        await worker.stop()


async def test_it_cleans_and_tells_what_it_made(worker: WorkerProcess, tmp_path: Path) -> None:
    clip = Clip().write(tmp_path / "clip.mp4")
    told: list[wire.WorkProgress] = []
    cleaned = await worker.clean(clip, tmp_path / "out/clip.mp4", MUCH, told.append)
    result = tmp_path / "out/clip.mp4"
    assert cleaned.outcome == "done"
    assert (cleaned.size, cleaned.mtime_ns) == (result.stat().st_size, result.stat().st_mtime_ns)
    assert json.loads(cleaned.report or "")["frames"]["encoded"] == 12
    assert len(rgb(result)) == 12
    assert told
    assert worker.rss() > 10 << 20


async def test_a_clip_that_fails_leaves_it_alive(worker: WorkerProcess, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no film")
    cleaned = await worker.clean(bad, tmp_path / "out/bad.mp4", MUCH, lambda _: None)
    assert cleaned.failure is not None
    assert (cleaned.outcome, cleaned.failure.kind) == ("failed", "unreadable")
    assert worker.alive
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


async def test_no_file_grows_beyond_what_is_allowed(worker: WorkerProcess, tmp_path: Path) -> None:
    clip = Clip(frames=60).write(tmp_path / "clip.mp4")
    output = tmp_path / "out/clip.mp4"
    cleaned = await worker.clean(clip, output, 4096, lambda _: None)
    assert cleaned.outcome == "failed"
    assert not list(output.parent.iterdir())
    cleaned = await worker.clean(clip, output, MUCH, lambda _: None)
    assert cleaned.outcome == "done"


async def test_what_files_are(worker: WorkerProcess, tmp_path: Path) -> None:
    whole = Clip().write(tmp_path / "whole.mp4")
    found = await worker.inspect(whole, last=False)
    assert (found.verdict, found.size, len(found.digest)) == ("whole", whole.stat().st_size, 64)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(Clip(frames=60).write(tmp_path / "long.mkv").read_bytes()[:-2000])
    found = await worker.inspect(cut, last=False)
    assert (found.verdict, found.opens, found.digest) == ("broken", True, "")
    assert len((await worker.inspect(cut, last=True)).digest) == 64
    text = tmp_path / "text"
    text.write_text("hello")
    found = await worker.inspect(text, last=False)
    assert (found.verdict, found.opens) == ("broken", False)
    found = await worker.inspect(audio_only(tmp_path / "sound.mp4"), last=False)
    assert found.failure is not None
    assert (found.verdict, found.failure.kind) == ("broken", "no_video")
    assert (await worker.inspect(tmp_path / "missing", last=False)).verdict == "changed"
    os.mkfifo(tmp_path / "pipe.mp4")
    assert (await worker.inspect(tmp_path / "pipe.mp4", last=False)).verdict == "changed"
    (tmp_path / "link.mp4").symlink_to(whole)
    assert (await worker.inspect(tmp_path / "link.mp4", last=False)).verdict == "changed"


async def test_damage_that_libav_calls_an_input_output_error_is_the_file_s(
    worker: WorkerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Clip().write(tmp_path / "whole.mkv").read_bytes()
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(b"\xff" + whole[1:])
    refused = InputError("cannot be read")
    refused.__cause__ = OSError(errno.EIO, "Input/output error")

    def probe(path: Path, limits: object) -> None:
        raise refused

    monkeypatch.setattr(inspection, "probe", probe)
    look = wire.Inspect(source=bad, last=True)
    assert inspection.inspect(look, CONFIG).verdict == "broken"

    def read(path: Path, tell: object = None) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(identity, "read", read)
    assert inspection.inspect(look, CONFIG).verdict == "unreadable"


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
async def test_a_file_that_is_being_written_is_not_whole_yet(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    clip = Clip().write(tmp_path / "clip.mp4")
    with clip.open("ab"):
        found = await worker.inspect(clip, last=False)
        assert found.failure is not None
        assert (found.verdict, found.opens) == ("broken", True)
        assert "still writing" in found.failure.message
        assert (await worker.inspect(clip, last=True)).verdict == "whole"
    assert (await worker.inspect(clip, last=False)).verdict == "whole"


async def test_reading_a_long_file_is_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = Clip().write(tmp_path / "clip.mp4")
    monkeypatch.setattr(identity, "BLOCK", 1000)
    told: list[int] = []
    assert identity.source(clip, told.append) is not None
    assert told[:2] == [1000, 2000]
    assert told[-1] == clip.stat().st_size
    said: list[wire.Message] = []

    class Line:
        def say(self, message: wire.Message) -> None:
            said.append(message)

    line: Any = Line()
    monkeypatch.setattr(worker_main, "PROGRESS_S", 0.0)
    monkeypatch.setattr(confine, "limit_cpu", lambda _: None)
    settings = wire.Configure(config=CONFIG.model_dump(mode="json"), address_space=None, cpu_s=9.0)
    worker = worker_main.Worker(settings, line)
    assert worker._inspect(wire.Inspect(source=clip, last=False)).verdict == "whole"
    moved = [message.moved for message in said if isinstance(message, wire.WorkProgress)]
    assert len({str(step) for step in moved}) == len(told)


async def test_names_of_any_bytes(worker: WorkerProcess, tmp_path: Path) -> None:
    plain = Clip().write(tmp_path / "plain.mp4")
    for raw in (b"new\nline.mp4", b"'\";%2e.mp4", b"-dash.mp4", b"\xff.mp4", b"x" * 245 + b".mp4"):
        path = tmp_path / os.fsdecode(raw)
        path.write_bytes(plain.read_bytes())
        assert (await worker.inspect(path, last=False)).verdict == "whole"
        output = tmp_path / "out" / path.name
        cleaned = await worker.clean(path, output, MUCH, lambda _: None)
        assert cleaned.outcome == "done", cleaned
        assert output.exists()


async def test_cancelled_it_leaves_nothing_and_goes_on(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    clip = Clip(frames=2000).write(tmp_path / "clip.mp4")
    running = asyncio.Event()
    output = tmp_path / "out/clip.mp4"
    async with asyncio.TaskGroup() as group:
        work = group.create_task(worker.clean(clip, output, MUCH, lambda told: running.set()))
        await running.wait()
        work.cancel()
    assert worker.alive
    assert not list(output.parent.glob("*")) if output.parent.exists() else True
    assert (await worker.inspect(clip, last=False)).verdict == "whole"


async def test_cancelled_before_it_began_it_answers(worker: WorkerProcess, tmp_path: Path) -> None:
    clip = Clip().write(tmp_path / "clip.mp4")
    order = wire.Clean(source=clip, output=tmp_path / "out/clip.mp4", max_bytes=MUCH)
    assert worker._process.stdin is not None
    worker._process.stdin.write(order.line() + wire.Cancel().line())
    answer = await worker._answer(wire.Cleaned, lambda _: None)
    assert answer.outcome == "cancelled"
    assert (await worker.inspect(clip, last=False)).verdict == "whole"


async def test_a_killed_one_is_told_of(worker: WorkerProcess, tmp_path: Path) -> None:
    clip = Clip(frames=2000).write(tmp_path / "clip.mp4")

    def kill(_: wire.WorkProgress) -> None:
        os.kill(worker.pid, 9)

    with pytest.raises(DeviceError, match="by signal 9") as error:
        await worker.clean(clip, tmp_path / "out/clip.mp4", MUCH, kill)
    assert error.value.kind == "crashed"
    assert not worker.alive


async def test_a_configuration_that_can_clean_nothing_is_refused(tmp_path: Path) -> None:
    missing = ProvenanceConfig(certificate=tmp_path / "a.pem", key=tmp_path / "b.pem")
    config = CONFIG.model_copy(update={"provenance": missing})
    with pytest.raises(ConfigError, match=r"a\.pem"):
        await WorkerProcess.start(config, BOUNDS)


def test_the_whole_configuration_gets_through() -> None:
    config = PipelineConfig.load_yaml(
        "profile: quality\nmemory: {budget: 4GB}\ninput: {watch: in}\n"
        "detect: {regions: [{box: [1, 2, 3, 4], from_s: 1.0}]}"
    )
    line = wire.Configure(config=config.model_dump(mode="json"), address_space=None, cpu_s=1.0)
    back = wire.REQUESTS.validate_json(line.line())
    assert isinstance(back, wire.Configure)
    assert PipelineConfig.model_validate(back.config) == config


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"kind": "cleaned", "outcome": "great"}',
        b'{"kind": "cleaned", "outcome": "done", "digest": "../.."}',
        b'{"kind": "progress"}',
        b'{"kind": "ready", "confined": [], "more": 1}',
    ],
)
def test_what_a_worker_may_not_say(line: bytes) -> None:
    with pytest.raises(ValidationError):
        wire.ANSWERS.validate_json(line)


CONFINED = """
import json, os, resource, socket, sys
from sorawm_pipeline.service.confine import confine, limit_file_size
held = confine(4 << 30)
def may(family):
    try:
        socket.socket(family).close()
        return True
    except PermissionError:
        return False
limit_file_size(1000)
try:
    open(sys.argv[1], "wb", buffering=0).write(bytes(2000)) and os.fsync(0)
    grew = os.path.getsize(sys.argv[1]) > 1000
except OSError:
    grew = False
print(json.dumps({
    "held": held,
    "inet": may(socket.AF_INET), "inet6": may(socket.AF_INET6), "unix": may(socket.AF_UNIX),
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "space": resource.getrlimit(resource.RLIMIT_AS)[0], "grew": grew,
    "capabilities": open("/proc/self/status").read().split("CapEff:")[1].split()[0],
}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp and prctl are Linux's")
def test_what_a_worker_gives_up(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", CONFINED, tmp_path / "file"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(said.stdout)
    assert "no internet sockets" in found["held"]
    assert {key: found[key] for key in ("inet", "inet6", "unix", "core", "space", "grew")} == {
        "inet": False,
        "inet6": False,
        "unix": True,
        "core": 0,
        "space": 4 << 30,
        "grew": False,
    }
    assert int(found["capabilities"], 16) & ~0b110 == 0  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert resource.getrlimit(resource.RLIMIT_CORE)
    assert socket.AF_INET


PLAYLIST = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{0}\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"
)
CONCAT = "ffconcat version 1.0\nfile '{0}'\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_playlists_and_links_open_nothing_outside_and_no_socket(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    secret = Clip().write(tmp_path / "outside/treasure.mp4")
    root = tmp_path / "in"
    root.mkdir()
    for name, text in (("list.mp4", PLAYLIST), ("script.mp4", CONCAT), ("list.ts", PLAYLIST)):
        (root / name).write_text(text.format(secret))
    (root / "link.mp4").symlink_to(secret)
    Clip().write(root / "good.mp4")
    settings = wire.Configure(
        config=CONFIG.model_dump(mode="json"), address_space=8 << 30, cpu_s=60
    )
    looks = [wire.Inspect(source=path, last=True) for path in sorted(root.iterdir())]
    requests = [message.line() for message in (settings, *looks)]
    trace = tmp_path / "trace"
    said = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=open,openat,socket,connect", "-o", trace, *PROGRAM],
        input=b"".join(requests),
        capture_output=True,
        timeout=100,
        check=True,
    )
    answers = [wire.ANSWERS.validate_json(line) for line in said.stdout.splitlines()]
    verdicts = [answer.verdict for answer in answers if isinstance(answer, wire.Inspected)]
    assert verdicts == ["whole", "changed", "broken", "broken", "broken"]
    calls = trace.read_text("utf-8", "replace").splitlines()
    assert any("good.mp4" in call for call in calls)
    assert [call for call in calls if "treasure" in call and "= -1" not in call] == []
    internet = [call for call in calls if "AF_INET" in call and "= -1" not in call]
    assert internet == []
