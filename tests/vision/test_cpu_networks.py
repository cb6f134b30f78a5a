"""Which runtime a network gets on the CPU, and why."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision import cpu_networks
from sorawm_pipeline.vision.cpu_networks import CpuRuntime, OnnxNetwork, OpenVinoNetwork, fastest
from sorawm_pipeline.vision.see_through import FILL, MATTE
from sorawm_pipeline.vision.weights import Weights, builtin_weights

Floats = NDArray[np.float32]
SAMPLE = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 16, 24, 44)).astype(np.float32)


class Clock:
    """Seconds that pass only while a network is asked."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Slow:
    """A network that takes `seconds` and answers `value`."""

    sha256 = ""

    def __init__(self, clock: Clock, runtime: CpuRuntime, seconds: float, value: float) -> None:
        self.clock, self.runtime, self.seconds, self.value = clock, runtime, seconds, value

    def __call__(self, batch: Floats) -> Floats:
        self.clock.now += self.seconds
        return np.full(batch.shape, self.value, np.float32)


def choose(
    monkeypatch: pytest.MonkeyPatch, seconds: float, value: float = 0.0, error: str = ""
) -> tuple[str, str | None]:
    """The runtime chosen beside an ONNX Runtime that takes a second, and why not the other."""
    clock = Clock()

    def other(weights: Weights, threads: int | None) -> Slow:
        if error:
            raise ModelError(error)
        return Slow(clock, "openvino", seconds, value)

    monkeypatch.setattr(cpu_networks, "time", clock)
    monkeypatch.setattr(cpu_networks, "OnnxNetwork", lambda *_: Slow(clock, "onnxruntime", 1, 0))
    monkeypatch.setattr(cpu_networks, "OpenVinoNetwork", other)
    network, reason = fastest(builtin_weights("onnx", FILL), SAMPLE)
    return network.runtime, reason


def test_openvino_is_taken_where_it_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, 0.5, 0.009) == ("openvino", None)


def test_it_is_not_taken_where_it_hardly_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "OpenVINO is only 1.11 times as fast"
    assert choose(monkeypatch, 0.9) == ("onnxruntime", reason)


@pytest.mark.parametrize("value", [0.02, float("nan")])
def test_nor_where_it_answers_something_else(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    runtime, reason = choose(monkeypatch, 0.1, value)
    assert runtime == "onnxruntime"
    assert "answers differ" in str(reason)


def test_nor_where_it_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "this processor has no bf16"
    assert choose(monkeypatch, 0.1, error=reason) == ("onnxruntime", reason)


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    network, reason = fastest(builtin_weights("onnx", FILL), SAMPLE, threads=1)
    assert network.runtime == "onnxruntime"
    assert "cannot be imported" in str(reason)


@pytest.fixture
def openvino() -> None:
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    try:
        OpenVinoNetwork(builtin_weights("onnx", FILL), threads=1)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize(("name", "channels"), [(FILL, 16), (MATTE, 17)])
def test_both_runtimes_say_the_same_but_for_rounding(name: str, channels: int) -> None:
    weights = builtin_weights("onnx", name)
    sample = np.random.default_rng(3).uniform(-0.5, 0.5, (2, channels, 24, 44)).astype(np.float32)
    one, other = OnnxNetwork(weights, 1)(sample), OpenVinoNetwork(weights, 1)(sample)
    assert one.shape == other.shape
    assert float(np.abs(one - other).mean()) < 0.02 * float(np.abs(one).mean()) + 1e-3


@pytest.mark.usefixtures("openvino")
def test_an_answer_stays_when_the_next_is_asked_for() -> None:
    network = OpenVinoNetwork(builtin_weights("onnx", FILL), threads=1)
    first = network(SAMPLE)
    kept = first.copy()
    network(-SAMPLE)
    assert (first == kept).all()


def test_openvino_has_nothing_to_report_its_use_with() -> None:
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    program = """
import sys
from sorawm_pipeline.vision.cpu_networks import _openvino
_openvino()
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
