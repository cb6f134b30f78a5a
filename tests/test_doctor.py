"""The doctor tells what is there, quickly, and without importing what is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from sorawm_pipeline import doctor
from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.hardware.gpu import Gpu, GpuSampler, GpuSnapshot


def with_gpu(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    snapshot = GpuSnapshot(1, "999.1", gpus)
    monkeypatch.setattr(doctor, "GpuSampler", lambda: GpuSampler(read=lambda _: snapshot))


def with_torch(monkeypatch: pytest.MonkeyPatch, **cuda: object) -> None:
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(**cuda)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)


@pytest.fixture(scope="module")
def found() -> doctor.Doctor:
    return doctor.collect()


def test_it_finds_this_machine(found: doctor.Doctor) -> None:
    assert found.python.endswith(sys.version.split()[0])
    assert 1 <= found.cores.usable <= found.cores.machine
    assert 0 < found.memory.available <= found.memory.total
    assert any(probe.name == "libx264" and probe.works for probe in found.codecs)
    assert Path(found.temporary.folder).is_dir()
    assert found.temporary.free <= found.temporary.total
    assert found.libraries["av"]
    assert found.limits["open_files"] is None or found.limits["open_files"] > 0


def test_built_in_models_are_checked(found: doctor.Doctor) -> None:
    assert {model.format for model in found.models} == {"onnx", "safetensors", "int8"}
    assert len(found.models) == 9
    assert {model.error for model in found.models} == {None}


def test_a_changed_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: object) -> None:
        raise ModelError("detector.onnx has been changed")

    monkeypatch.setattr("sorawm_pipeline.vision.weights.builtin_weights", changed)
    assert {model.error for model in doctor._models()} == {"detector.onnx has been changed"}
    monkeypatch.setattr("sorawm_pipeline.vision.weights.manifest", changed)
    assert [model.error for model in doctor._models()] == ["detector.onnx has been changed"]


def test_json_is_the_whole_finding(found: doctor.Doctor) -> None:
    assert doctor.Doctor.model_validate_json(doctor.to_json(found)) == found
    assert json.loads(doctor.to_json(found))["version"] == found.version


def test_text_names_every_codec_model_and_reason(found: doctor.Doctor) -> None:
    text = doctor.to_text(found)
    for probe in found.codecs:
        line = next(line for line in text.splitlines() if f"{probe.label} " in line)
        assert line.endswith(" works" if probe.works else f"no: {probe.reason}")
    for model in found.models:
        assert str(model.sha256) in text


def test_torch_is_imported_only_where_there_is_a_gpu() -> None:
    code = (
        "import sys; from sorawm_pipeline import doctor; d = doctor.collect(); print("
        "bool(d.gpus.devices), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    gpu, torch = done.stdout.split()
    assert gpu == torch


def test_a_gpu_and_what_torch_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 1 << 30
    with_gpu(
        monkeypatch,
        Gpu(0, "Stub", "GPU-a", 8 * gib, 2 * gib, 6 * gib, temperature=50, throttled=True),
        Gpu(1, error="GPU is lost"),
    )
    with_torch(
        monkeypatch,
        is_available=lambda: True,
        device_count=lambda: 1,
        get_device_name=lambda number: f"Stub {number}",
    )
    text = doctor.to_text(doctor.collect())
    lines = dict(line.split(maxsplit=2)[1:] for line in text.splitlines() if line[:4] == "gpu ")
    assert lines["0"] == "Stub, 6.0 GiB free of 8.0 GiB, 50 C, throttled"
    assert lines["1"] == "GPU is lost"
    assert "cuda:0 Stub 0" in text


def test_torch_that_cannot_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise RuntimeError("driver too old\nlong story")

    with_torch(monkeypatch, device_count=broken)
    assert doctor._cuda() == ((), "RuntimeError: driver too old")
    with_torch(monkeypatch, device_count=lambda: 0)
    assert doctor._cuda() == ((), "torch finds no usable device")
