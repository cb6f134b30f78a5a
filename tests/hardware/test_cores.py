"""Cores that processes share out among themselves: each has its own, until it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import cv2
import pytest

from sorawm_pipeline.hardware import cores

CLAIM = """
import json, os, sys
from pathlib import Path
from sorawm_pipeline.hardware.cores import claim_cores
claimed = claim_cores(int(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps([claimed, sorted(os.sched_getaffinity(0))]), flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds processes")


def claimed(stack: ExitStack, count: int, folder: Path) -> tuple[list[int], list[int]]:
    """What a process claims, and is bound to, while `stack` is open."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(count), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    )
    assert process.stdout is not None
    mine, bound = json.loads(process.stdout.readline())
    return mine, bound


def test_each_process_has_cores_of_its_own_until_it_ends(tmp_path: Path) -> None:
    there = sorted(os.sched_getaffinity(0))
    for _ in range(2):  # the second time after all have ended
        with ExitStack() as stack:
            seen = [claimed(stack, 1, tmp_path) for _ in there]
            assert sorted(core for mine, _ in seen for core in mine) == there
            assert all(mine == bound for mine, bound in seen)
            assert claimed(stack, 1, tmp_path) == ([], there)


def test_too_many_are_none(tmp_path: Path) -> None:
    there = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        assert claimed(stack, len(there) + 1, tmp_path) == ([], there)
        assert claimed(stack, len(there), tmp_path) == (there, there)


def test_a_folder_that_cannot_be_used_shares_nothing_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with ExitStack() as stack:
        mine, bound = claimed(stack, 1, tmp_path / "file")
    assert (mine, bound) == ([], sorted(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("there", "quota", "threads"),
    [(1, None, 1), (2, None, 1), (8, None, 2), (16, 2.5, 1), (16, 7.5, 2), (4, 64.0, 1)],
)
def test_small_networks_leave_cores_to_the_others(
    there: int, quota: float | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: there)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert cores.network_threads() == threads


@pytest.mark.parametrize(
    ("there", "quota", "frames"), [(1, None, 1), (2, None, 2), (16, 2.5, 3), (64, None, 16)]
)
def test_an_encoder_works_at_as_many_frames_as_there_are_cores_but_not_at_any_number(
    there: int, quota: float | None, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: there)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert cores.frame_threads() == frames


def test_opencv_has_one_thread() -> None:
    cv2.setNumThreads(2)
    cores.share_cores()
    assert cv2.getNumThreads() == 1
