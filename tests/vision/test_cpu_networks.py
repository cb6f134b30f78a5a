"""Which runtime a network gets on the CPU, and why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision import cpu_networks
from sorawm_pipeline.vision.cpu_networks import (
    CpuRuntime,
    OnnxNetwork,
    OpenVinoNetwork,
    Precision,
    fastest,
)
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

    def __init__(
        self, clock: Clock, runtime: CpuRuntime, precision: Precision, seconds: float, value: float
    ) -> None:
        self.clock, self.runtime, self.precision = clock, runtime, precision
        self.seconds, self.value = seconds, value

    def __call__(self, batch: Floats) -> Floats:
        self.clock.now += self.seconds
        return np.full(batch.shape, self.value, np.float32)


Form = tuple[float, float] | str
"""Seconds that a form of the network takes and what it answers, or why it cannot be loaded."""


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[Form, Form], tuple[str, str | None]]:
    """Tells which form is chosen beside a plain one that takes a second, and why no other."""
    clock = Clock()

    def chosen(bf16: Form, int8: Form) -> tuple[str, str | None]:
        def form(of: Form, runtime: CpuRuntime, precision: Precision) -> Slow:
            if isinstance(of, str):
                raise ModelError(of)
            return Slow(clock, runtime, precision, *of)

        def onnx(_: Weights, threads: int | None, precision: Precision = "fp32") -> Slow:
            return form(int8 if precision == "int8" else (1, 0), "onnxruntime", precision)

        monkeypatch.setattr(cpu_networks, "time", clock)
        monkeypatch.setattr(cpu_networks, "OnnxNetwork", onnx)
        monkeypatch.setattr(
            cpu_networks, "OpenVinoNetwork", lambda *_: form(bf16, "openvino", "bf16")
        )
        weights = builtin_weights("onnx", FILL)
        network, reason = fastest(weights, SAMPLE, int8=weights)
        return network.precision, reason

    return chosen


Choose = Callable[[Form, Form], tuple[str, str | None]]
NEVER = "this processor cannot"


def test_each_form_is_taken_where_it_wins(choose: Choose) -> None:
    assert choose((0.7, 0.009), NEVER) == ("bf16", None)
    assert choose(NEVER, (0.7, 0.09)) == ("int8", None)


def test_the_second_must_win_over_the_first(choose: Choose) -> None:
    assert choose((0.5, 0), (0.7, 0)) == ("bf16", None)
    assert choose((0.6, 0), (0.7, 0)) == ("int8", None)


def test_where_integers_win_by_far_the_other_is_not_even_tried(choose: Choose) -> None:
    assert choose((0.0, 0), (0.5, 0)) == ("int8", None)


def test_the_plain_one_stays_where_none_wins_much(choose: Choose) -> None:
    assert choose((0.9, 0), (0.95, 0)) == (
        "fp32",
        "int8: 1.05 times as fast; OpenVINO: 1.11 times as fast",
    )


@pytest.mark.parametrize("value", [0.2, float("nan")])
def test_nor_is_one_taken_that_answers_something_else(choose: Choose, value: float) -> None:
    precision, reason = choose((0.1, value), (0.1, value))
    assert precision == "fp32"
    assert str(reason).count("answers differ") == 2


def test_nor_one_that_cannot_be_had(choose: Choose) -> None:
    assert choose(NEVER, NEVER) == ("fp32", f"int8: {NEVER}; OpenVINO: {NEVER}")


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


@pytest.mark.parametrize("name", [FILL, MATTE])
def test_the_shipped_integers_say_nearly_the_same(name: str) -> None:
    """On a smooth ground under a bar, as regions are, not on noise, which no range was told by."""
    plain = OnnxNetwork(builtin_weights("onnx", name), 1)
    channels = plain.input_shape[1]
    y, x = np.mgrid[0:40, 0:88] / 88
    ground = 0.2 + 0.5 * x + 0.2 * y + 0.2 * (abs(y - 0.2) < 0.05)
    sample = np.repeat(ground[None, None], channels or 0, axis=1).astype(np.float32)
    int8 = OnnxNetwork(builtin_weights("int8", name), 1, "int8")
    one, other = plain(sample), int8(sample)
    assert 0 < float(np.abs(one - other).mean()) < 0.05 * float(np.abs(one).mean())


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
