"""What systemd is told, by a socket that stands for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorawm_pipeline.service.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield line


def test_every_message(systemd: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready()
    notifier.alive()
    notifier.reloading()
    notifier.status("two\nlines")
    notifier.stopping()
    told = [systemd.recv(4096).decode() for _ in range(5)]
    assert told[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    del told[2]
    assert told == ["READY=1", "WATCHDOG=1", "STATUS=two lines", "STOPPING=1"]


def test_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"sorawm-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0" + name)
        line.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        Notifier().ready()
        assert line.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Notifier().ready()


@pytest.mark.parametrize(
    ("microseconds", "process", "expected"),
    [
        ("3000000", None, 3.0),
        ("3000000", "1", None),
        ("never", None, None),
        ("0", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog(
    microseconds: str | None,
    process: str | None,
    expected: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", process)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert Notifier().watchdog_s == expected
