"""GPU readings, through the real pynvml against a libnvidia-ml.so.1 built here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sorawm_pipeline.hardware.gpu import Gpu, GpuSampler, GpuSnapshot, gpu_in_sight, read_gpus

READ_ONCE = """
import dataclasses, json
from sorawm_pipeline.hardware.gpu import read_gpus
print(json.dumps(dataclasses.asdict(read_gpus(7))))
"""
LOSE_AND_FIND = """
import dataclasses, json, os, threading
from sorawm_pipeline.hardware.gpu import GpuSampler, read_gpus
shown = []
steps = iter([{}, {"NVML_STUB_FREE": "100"}, {"NVML_STUB_LOST": "1"}, {"NVML_STUB_LOST": "0"}])
done = threading.Event()
def read(sample):
    step = next(steps, None)
    if step is None:
        done.set()
        return shown[-1]
    os.environ.update(step)
    shown.append(read_gpus(sample))
    return shown[-1]
with GpuSampler(0.001, read=read):
    assert done.wait(30)
print(json.dumps([dataclasses.asdict(snapshot) for snapshot in shown]))
"""

Nvml = Callable[..., Any]


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Nvml:
    """Runs code in a process whose NVML is the stub; keyword arguments script it."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is needed to build the stub of NVML")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml_stub.c")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)

    def run(code: str = READ_ONCE, **script: object) -> Any:
        variables = {f"NVML_STUB_{word.upper()}": str(value) for word, value in script.items()}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | variables | {"LD_LIBRARY_PATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_everything_a_device_tells(nvml: Nvml) -> None:
    snapshot = nvml()
    assert (snapshot["sample"], snapshot["driver"], snapshot["reason"]) == (7, "999.1", None)
    assert snapshot["gpus"] == [
        {
            "index": 0,
            "name": "Stub 9000",
            "uuid": "GPU-0-0",
            "total": 8000,
            "used": 2000,
            "free": 6000,
            "utilisation": 70,
            "temperature": 61,
            "power_w": 120.5,
            "throttled": False,
            "power_capped": False,
            "mig": False,
            "error": None,
        }
    ]


@pytest.mark.parametrize(
    ("reasons", "throttled", "power_capped"),
    [(0x1, False, False), (0x4, False, True), (0x20, True, False), (0x40, True, False),
     (0x80, True, False), (0x8 | 0x4, True, True)],
)  # fmt: skip
def test_throttling(nvml: Nvml, reasons: int, throttled: bool, power_capped: bool) -> None:
    (gpu,) = nvml(reasons=hex(reasons))["gpus"]
    assert (gpu["throttled"], gpu["power_capped"]) == (throttled, power_capped)


def test_what_is_not_supported_is_none_and_the_rest_is_there(nvml: Nvml) -> None:
    (gpu,) = nvml(
        fail="nvmlDeviceGetPowerUsage=3,nvmlDeviceGetTemperature=3,nvmlDeviceGetMigMode=3"
    )["gpus"]
    assert (gpu["power_w"], gpu["temperature"], gpu["free"]) == (None, None, 6000)


def test_memory_without_permission(nvml: Nvml) -> None:
    (gpu,) = nvml(fail="nvmlDeviceGetMemoryInfo=4")["gpus"]
    assert (gpu["free"], gpu["error"], gpu["utilisation"]) == (None, None, 70)


def test_a_lost_device_leaves_the_others(nvml: Nvml) -> None:
    first, lost, third = nvml(gpus=3, lost=2)["gpus"]
    assert (first["free"], third["free"]) == (6000, 6000)
    assert (lost["index"], lost["error"], lost["free"]) == (1, "GPU is lost", None)


def test_a_device_lost_between_two_calls(nvml: Nvml) -> None:
    (gpu,) = nvml(fail="nvmlDeviceGetMemoryInfo=15")["gpus"]
    assert gpu["error"] == "GPU is lost"


def test_mig_instances_are_devices_of_their_own(nvml: Nvml) -> None:
    gpus = nvml(mig=2)["gpus"]
    assert [(gpu["uuid"], gpu["mig"], gpu["free"]) for gpu in gpus] == [
        ("MIG-0-1", True, 6000),
        ("MIG-0-2", True, 6000),
    ]
    assert [(gpu["utilisation"], gpu["temperature"]) for gpu in gpus] == [(None, 61)] * 2


def test_a_driver_that_is_not_loaded(nvml: Nvml) -> None:
    snapshot = nvml(fail="nvmlInitWithFlags=9")
    assert (snapshot["gpus"], snapshot["reason"]) == ([], "Driver Not Loaded")


def test_a_driver_without_devices(nvml: Nvml) -> None:
    assert nvml(gpus=0)["reason"] == "NVML works but lists no device"


def test_a_device_that_is_lost_and_comes_back(nvml: Nvml) -> None:
    frees = [snapshot["gpus"][0]["free"] for snapshot in nvml(LOSE_AND_FIND)]
    assert frees == [6000, 100, None, 100]


def test_a_machine_without_a_driver_answers_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = pytest.importorskip("pynvml")
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    begin = time.perf_counter()
    with GpuSampler() as sampler:
        snapshot = sampler.wait_first(10)
        sampler._thread.join(10)
        assert not sampler._thread.is_alive(), "nothing to sample, so the thread ends"
    assert time.perf_counter() - begin < 1
    assert (snapshot.gpus, snapshot.reason) == ((), "NVML Shared Library Not Found")


def no_library(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def test_snapshot_never_waits_for_a_driver_that_hangs() -> None:
    release = threading.Event()

    def hang(sample: int) -> GpuSnapshot:
        release.wait(30)
        return GpuSnapshot(sample)

    sampler = GpuSampler(read=hang)
    sampler._thread.start()
    assert sampler.snapshot == GpuSnapshot(reason="not sampled yet")
    assert sampler.wait_first(0.01).sample == 0
    release.set()
    sampler.__exit__()
    assert not sampler._thread.is_alive()


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="interval_s"):
        GpuSampler(0)


def test_a_device_is_found_by_its_uuid_with_or_without_prefix() -> None:
    gpu = Gpu(0, uuid="GPU-AB-1")
    snapshot = GpuSnapshot(1, gpus=(Gpu(1), gpu))
    assert snapshot.find("ab-1") is gpu
    assert snapshot.find("GPU-ab-1") is gpu
    assert snapshot.find("ab-2") is None


def test_this_machine_gives_a_snapshot_whatever_it_is() -> None:
    snapshot = read_gpus()
    assert bool(snapshot.gpus) != bool(snapshot.reason)


def test_torch_is_asked_for_a_gpu_only_where_one_is_in_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Gpu] = []
    monkeypatch.setattr(
        "sorawm_pipeline.hardware.gpu.read_gpus", lambda: GpuSnapshot(gpus=tuple(listed))
    )
    assert not gpu_in_sight(tmp_path)
    listed.append(Gpu(0))
    assert gpu_in_sight(tmp_path)
    listed.clear()
    (tmp_path / "dxg").touch()
    assert gpu_in_sight(tmp_path)
