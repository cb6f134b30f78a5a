"""Fixtures for the whole suite."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from sorawm_pipeline import warm
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.vision.detector import Detection
from tests.clips import Clip

# A shell that starts the suite in the background has it, and all that it starts, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

WHITE = 200

# Timings on a shared machine say nothing, and a build must give the same answer twice.
settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("suite")


class WhiteDetector:
    """Finds what is white; stands in for the network where its judgement is not what is tested."""

    runtime = "onnxruntime"
    device = "cpu"
    weights_sha256 = "0" * 64
    precision = "fp32"
    fallback: str | None = None

    def __init__(self) -> None:
        self.closed = False
        self.calls: list[int] = []

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def detect(self, images: NDArray[np.uint8]) -> list[list[Detection]]:
        self.calls.append(len(images))
        return [self._one(image) for image in images]

    def _one(self, image: NDArray[np.uint8]) -> list[Detection]:
        ys, xs = np.nonzero(image.min(axis=2) > WHITE)
        if not len(ys):
            return []
        box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
        return [Detection(box, 0.9)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def detectors(monkeypatch: pytest.MonkeyPatch) -> list[WhiteDetector]:
    """Every detector that the pipeline loads during the test."""
    loaded: list[WhiteDetector] = []

    def load(config: PipelineConfig) -> tuple[WhiteDetector, float]:
        loaded.append(WhiteDetector())
        return loaded[-1], 0.4

    monkeypatch.setattr(warm, "_load", load)
    return loaded


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep certificates made by tests, and models, away from the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[[str, Clip], Path]:
    return lambda name, clip: clip.write(tmp_path / name)


@pytest.fixture
def media() -> Path:
    """Real recordings that lie beside some checkouts; nothing of them is part of the project."""
    folder = Path(__file__).parents[2] / "shared" / "media"
    if not folder.is_dir():
        pytest.skip("the real recordings are not at hand")
    return folder
