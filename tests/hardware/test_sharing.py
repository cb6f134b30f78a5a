from __future__ import annotations

import ctypes
import sys

import cv2
import pytest

from sorawm_pipeline.hardware import sharing


@pytest.mark.parametrize(
    ("cores", "quota", "threads"),
    [(1, None, 1), (2, None, 1), (8, None, 2), (16, 6.5, 1), (16, 7.5, 2), (4, 64.0, 1)],
)
def test_small_networks_leave_cores_to_the_others(
    cores: int, quota: float | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "usable_cores", lambda: cores)
    monkeypatch.setattr(sharing, "cpu_quota", lambda: quota)
    assert sharing.network_threads() == threads


class Libc:
    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def mallopt(self, key: int, value: int) -> int:
        self.told.append((key, value))
        return 1


def test_opencv_and_malloc_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    cv2.setNumThreads(2)
    sharing.share_process()
    assert cv2.getNumThreads() == 1
    assert libc.told == [(sharing.M_ARENA_MAX, sharing.ARENAS)]


def test_what_the_user_says_of_arenas_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "8")
    sharing.share_process()
    assert libc.told == []


def test_another_c_library_needs_no_arenas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    sharing.share_process()
