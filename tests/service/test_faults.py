"""A kill, or an error, at every call to the system that publishing and keeping the ledger make."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STRIDE = 4
"""One call in so many is tried, each fault beginning at another one; 1 tries all."""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("gcc is needed to build what injects the faults")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = HERE / "faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.slow
def test_whatever_is_cut_off_the_result_is_whole_and_there_once(
    faults: Path, tmp_path: Path
) -> None:
    said = subprocess.run(
        [sys.executable, HERE / "fault_steps.py", tmp_path / "world", str(STRIDE)],
        env=os.environ | {"LD_PRELOAD": str(faults)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    found = json.loads(said.stdout)
    assert found["wrong"] == []
    assert found["calls"] > 40
    assert found["trials"] > 100
    assert found["ends"]["killed"] > 20
    assert found["ends"]["ended"] > 50
