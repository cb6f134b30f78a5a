"""TensorRT engines: made once, and loaded only if they were made here.

No GPU: the builder, which is the last to be called, is replaced by one that writes a file.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision import engines, ultralytics_backend
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.engines import MOST_TOGETHER, engine_of
from sorawm_pipeline.vision.ultralytics_backend import (
    UltralyticsBackend,
    network_of,
    prepare_libraries,
)
from sorawm_pipeline.vision.weights import Weights, builtin_weights

WEIGHTS = builtin_weights("safetensors")


class Builder:
    """Counts what it is asked to build, and may fail."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.dynamic: list[bool] = []
        self.fails: Exception | None = None

    def export_engine(self, exporter: SimpleNamespace) -> Path:
        if self.fails is not None:
            raise self.fails
        self.shapes.append(tuple(exporter.im.shape))
        self.dynamic.append(exporter.args.dynamic)
        made: Path = exporter.file.with_suffix(".engine")
        made.write_bytes(b"engine %d" % len(self.shapes))
        return made


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Builder:
    prepare_libraries()
    from ultralytics.engine.exporter import Exporter

    built = Builder()
    tensorrt = ModuleType("tensorrt")
    tensorrt.__version__ = "10.9"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    monkeypatch.setattr(Exporter, "export_engine", lambda self: built.export_engine(self))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return built


def folder(tmp_path: Path) -> Path:
    return tmp_path / "sorawm-pipeline" / "engines"


def made(weights: Weights = WEIGHTS, size: int = 64, *, half: bool = False) -> Weights:
    import torch

    return engine_of(weights, torch.device("cpu"), size, lambda: network_of(weights), half=half)


def test_an_engine_is_made_once(builder: Builder, tmp_path: Path) -> None:
    engine = made()
    assert engine.format == "tensorrt"
    assert engine.path.read_bytes() == b"engine 1"
    assert engine.path.parent == folder(tmp_path)
    assert made() == engine
    assert builder.shapes == [(MOST_TOGETHER, 3, 64, 64)]
    assert builder.dynamic == [True]
    left = {path.suffix or path.name for path in folder(tmp_path).iterdir()}
    assert left == {".engine", ".json", ".lock"}


def test_other_weights_sizes_and_versions_have_their_own(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made()
    others = [made(size=96), made(half=True), made(replace(WEIGHTS, sha256="0" * 64))]
    monkeypatch.setattr(sys.modules["tensorrt"], "__version__", "10.10")
    others.append(made())
    assert len({engine.path for engine in (first, *others)}) == 5
    assert made(size=96).sha256 != made().sha256


def test_a_file_that_is_not_the_recorded_one_is_not_loaded(builder: Builder) -> None:
    engine = made()
    engine.path.write_bytes(b"somebody else's")
    again = made()
    assert again.path == engine.path
    assert again.path.read_bytes() == b"engine 2"
    assert made() == again


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', '{"engines": {"a": "b"}}'])
def test_nor_one_of_which_there_is_no_record(
    builder: Builder, tmp_path: Path, content: str
) -> None:
    engine = made()
    (folder(tmp_path) / "engines.json").write_text(content)
    assert made().path.read_bytes() == b"engine 2"
    assert engine.path == made().path


def test_nor_from_a_folder_that_others_can_write_to(builder: Builder, tmp_path: Path) -> None:
    made()
    folder(tmp_path).chmod(0o777)
    with pytest.raises(ModelError, match="others can write"):
        made()


def test_a_build_that_fails_leaves_nothing(builder: Builder, tmp_path: Path) -> None:
    builder.fails = RuntimeError("no such layer")
    with pytest.raises(RuntimeError, match="no such layer"):
        made()
    assert [path.name for path in folder(tmp_path).iterdir()] == [".lock"]


def test_without_the_package_there_is_no_engine(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ModelError, match="TensorRT cannot be imported"):
        made()


def backend(weights: Weights = WEIGHTS) -> UltralyticsBackend:
    return UltralyticsBackend(weights, "cpu", half=False, compiled=False, engine_size=64, threads=1)


def test_what_cannot_be_made_runs_in_torch(builder: Builder) -> None:
    builder.fails = RuntimeError("no such layer\nand much more")
    network = backend()
    assert network.runtime == "torch"
    assert network.fallback == "no TensorRT engine (no such layer)"
    assert network(np.zeros((1, 64, 96, 3), np.uint8)).shape[:2] == (1, 5)


def test_what_is_made_and_cannot_be_loaded_runs_in_torch_too(builder: Builder) -> None:
    network = backend()
    assert len(builder.shapes) == 1
    assert network.runtime == "torch"
    assert str(network.fallback).startswith("no TensorRT engine (")


def test_memory_that_runs_out_is_told(builder: Builder) -> None:
    import torch

    builder.fails = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        backend()


class Engine:
    """A loaded engine: batches of at most so many."""

    format, device, stride, fp16, dynamic, task = "engine", "cpu", 32, True, True, "detect"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def eval(self) -> Engine:
        return self

    def __call__(self, batch: object) -> object:
        import torch

        assert isinstance(batch, torch.Tensor)
        self.batches.append(len(batch))
        assert len(batch) <= MOST_TOGETHER
        return batch.mean((2, 3))


def test_an_engine_gets_no_larger_batches_than_it_was_made_for(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine()
    monkeypatch.setattr(ultralytics_backend, "_load", lambda *_, **__: engine)
    network = backend()
    assert (network.runtime, network.precision, network.fallback) == ("tensorrt", "fp16", None)
    pictures = np.full((MOST_TOGETHER + 3, 32, 64, 3), 51, np.uint8)
    assert np.allclose(network(pictures), 0.2)
    assert engine.batches == [MOST_TOGETHER, 3]
    assert engines.MOST_TOGETHER == MOST_TOGETHER


def test_on_a_cpu_it_is_not_even_tried() -> None:
    detector = Detector(builtin_weights("onnx"), tensorrt=True, threads=1)
    assert detector.runtime == "onnxruntime"
    assert detector.fallback == "no TensorRT engine (that takes CUDA)"
