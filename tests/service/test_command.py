"""`run --watch` and `jobs` as a user meets them: a real process, real workers, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sorawm_pipeline import cli
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.names import reason_file
from tests.clips import Clip, rgb

LIMIT_S = 30.0
Say = pytest.CaptureFixture[str]


class Service:
    """A daemon in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.outbox = folder / "in", folder / "out"
        self.inbox.mkdir()
        self.yaml = folder / "pipeline.yaml"
        self.write_yaml()
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(folder / "notify"))
        self.systemd.settimeout(LIMIT_S)
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def write_yaml(self, more: str = "") -> None:
        self.yaml.write_text(
            "device: cpu\ndetect: {weights: none}\n"
            "input: {settle_s: 0.1, patience_s: 0.2, rescan_s: 1}\n"
            f"service: {{ledger: {self.yaml.parent / 'ledger.sqlite3'}, min_free: 0}}\n{more}"
        )

    def start(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sorawm_pipeline", "run", str(self.yaml)),
                *map(str, ("--watch", self.inbox, "--output", self.outbox, *words)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"NOTIFY_SOCKET": str(self.folder / "notify"), "WATCHDOG_USEC": "6000000"},
        )
        self.told("READY=1")

    def told(self, message: str) -> None:
        """Wait until systemd is told so."""
        while not self.systemd.recv(4096).decode().startswith(message):
            pass

    def stop(self) -> tuple[int, str, str]:
        assert self.process is not None
        self.systemd.setblocking(False)
        with suppress(BlockingIOError):  # a full socket drops what comes
            while self.systemd.recv(4096):
                pass
        self.systemd.settimeout(LIMIT_S)
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, out, err


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.systemd.close()
    if service.process is not None and service.process.poll() is None:
        service.process.kill()
        service.process.communicate()


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_a_folder_is_watched_until_a_signal(service: Service, capsys: Say) -> None:
    Clip().write(service.inbox / "first.mp4")
    service.start()
    wait_for((service.outbox / "first.mp4").exists)
    Clip(frames=7).write(service.inbox / ".second.mkv").rename(service.inbox / "second.mkv")
    (service.inbox / "bad.mp4").write_text("no film")
    wait_for((service.outbox / "second.mkv").exists)
    wait_for(reason_file(service.inbox / "bad.mp4").exists)
    service.told("WATCHDOG=1")
    status, out, err = service.stop()
    assert status == 0, err
    service.told("STOPPING=1")
    assert f"done: first.mp4 -> {service.outbox / 'first.mp4'}" in out.splitlines()
    assert "quarantined: " in out
    assert len(rgb(service.outbox / "second.mkv")) == 7

    assert cli.call(["jobs", "list", str(service.yaml), "--json"]) == 0
    jobs = {job["source"].rsplit("/")[-1]: job for job in json.loads(capsys.readouterr().out)}
    assert {name: job["state"] for name, job in jobs.items()} == {
        "first.mp4": "done",
        "second.mkv": "done",
        "bad.mp4": "quarantined",
    }
    bad = str(jobs["bad.mp4"]["id"])
    assert cli.call(["jobs", "show", bad, str(service.yaml)]) == 0
    assert "unreadable" in capsys.readouterr().out
    assert cli.call(["jobs", "retry", bad, "--pipeline", str(service.yaml)]) == 0
    assert "waiting" in capsys.readouterr().out
    assert not reason_file(service.inbox / "bad.mp4").exists()
    first = str(jobs["first.mp4"]["id"])
    assert cli.call(["jobs", "show", first, str(service.yaml), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["frames"]["encoded"] == 12
    assert cli.call(["jobs", "forget", first, "--pipeline", str(service.yaml)]) == 0
    assert "forgotten" in capsys.readouterr().out
    assert cli.call(["jobs", "list", str(service.yaml), "--state", "done"]) == 0
    assert "first.mp4" not in capsys.readouterr().out


@pytest.mark.slow
def test_retry_wakes_a_running_daemon_and_sighup_reloads(service: Service, capsys: Say) -> None:
    (service.inbox / "bad.mp4").write_text("no film")
    service.start("--log-format", "json", "--set", "log.level=info")
    reason = reason_file(service.inbox / "bad.mp4")
    wait_for(reason.exists)
    assert cli.call(["jobs", "retry", "1", "--pipeline", str(service.yaml)]) == 0
    wait_for(reason.exists)  # tried, and given up again, long before any rescan
    service.write_yaml("encode: {codec: h26}\n")
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    service.write_yaml("encode: {codec: ffv1}\n")
    time.sleep(0.2)
    service.process.send_signal(signal.SIGHUP)
    service.told("RELOADING=1")
    service.told("READY=1")
    Clip().write(service.inbox / ".new.mkv").rename(service.inbox / "new.mkv")
    wait_for((service.outbox / "new.mkv").exists)
    _, _, err = service.stop()
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert "reloaded" in events
    assert b"FFV1" in (service.outbox / "new.mkv").read_bytes()


def test_what_goes_not_together(service: Service, capsys: Say) -> None:
    clip = Clip().write(service.inbox / "a.mp4")
    words = ["run", str(service.yaml), str(clip), "--watch", str(service.inbox)]
    assert cli.call(words) == 2
    assert "--watch takes no INPUT" in capsys.readouterr().err
    report = ["--report", str(service.folder / "r.json")]
    assert cli.call(["run", str(service.yaml), "--watch", str(service.inbox), *report]) == 2


def test_results_over_inputs_are_refused(service: Service, capsys: Say) -> None:
    inbox = str(service.inbox)
    assert cli.call(["run", str(service.yaml), "--watch", inbox, "--output", inbox]) == 2
    assert "choose another one" in capsys.readouterr().err


def test_jobs_without_a_ledger_or_a_job(service: Service, capsys: Say) -> None:
    assert cli.call(["jobs", "list", str(service.yaml)]) == 2
    assert "there is no ledger" in capsys.readouterr().err
    Ledger(service.folder / "ledger.sqlite3").close()
    assert cli.call(["jobs", "list", str(service.yaml)]) == 0
    assert cli.call(["jobs", "show", "7", str(service.yaml)]) == 2
    assert cli.call(["jobs", "retry", "7", "--pipeline", str(service.yaml)]) == 2
    assert cli.call(["jobs", "forget", "7", "--pipeline", str(service.yaml)]) == 2
    assert capsys.readouterr().err.count("there is no job 7") == 3
    (service.folder / "ledger.sqlite3").write_bytes(b"this is no database, but long enough " * 99)
    assert cli.call(["jobs", "list", str(service.yaml)]) == 1
    assert "cannot be used" in capsys.readouterr().err
