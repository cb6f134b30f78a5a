"""Which form of a network is taken on the CPU, and why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.vision import cpu_forms
from sorawm_pipeline.vision.cpu_forms import brain_floats, fastest, integers
from sorawm_pipeline.vision.cpu_networks import CpuRuntime, OnnxNetwork, Precision
from sorawm_pipeline.vision.see_through import FILL
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

Choose = Callable[..., tuple[str, str | None]]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Tells which form is chosen beside a plain one that takes a second, and why no other."""
    clock = Clock()

    def chosen(bf16: Form, int8: Form, only: Precision | None = None) -> tuple[str, str | None]:
        def form(of: Form, runtime: CpuRuntime, precision: Precision) -> Slow:
            if isinstance(of, str):
                raise ModelError(of)
            return Slow(clock, runtime, precision, *of)

        def openvino(_: Weights, threads: int | None, precision: Precision = "bf16") -> Slow:
            return form(bf16, "openvino", precision)

        monkeypatch.setattr(cpu_forms, "time", clock)
        monkeypatch.setattr(cpu_forms, "OnnxNetwork", lambda *_: form(int8, "onnxruntime", "int8"))
        monkeypatch.setattr(cpu_forms, "OpenVinoNetwork", openvino)
        weights = builtin_weights("onnx", FILL)
        plain = Slow(clock, "onnxruntime", "fp32", 1, 0)
        forms = [integers(weights, 1), brain_floats(weights, 1)]
        network, reason = fastest(plain, SAMPLE, forms, only)
        return network.precision, reason

    return chosen


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


def test_a_form_that_is_asked_for_needs_to_work_but_not_to_win(choose: Choose) -> None:
    assert choose((9, 0), (5, 0.09), only="int8") == ("int8", None)
    assert choose((9, 0), (5, 0), only="bf16") == ("bf16", None)
    assert choose((0, 0), (0, 0), only="fp32") == ("fp32", None)
    assert choose((0, 0), NEVER, only="int8") == ("fp32", f"int8: {NEVER}")
    assert choose((0, 0), (0, 0.2), only="int8") == ("fp32", "int8: its answers differ by 0.200")


@pytest.mark.parametrize(
    ("bf16", "given_back"), [((0.9, 0), ["openvino"]), (NEVER, ["openvino"]), ((0.1, 0), [])]
)
def test_what_a_losing_form_took_is_given_back(
    choose: Choose, monkeypatch: pytest.MonkeyPatch, bf16: Form, given_back: list[str]
) -> None:
    names: list[str] = []
    monkeypatch.setitem(sys.modules, "openvino", ModuleType("openvino"))
    monkeypatch.setattr(cpu_forms, "give_back", names.append)
    choose(bf16, (0.9, 0))
    assert names == given_back


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    weights = builtin_weights("onnx", FILL)
    forms = [brain_floats(weights, 1)]
    network, reason = fastest(OnnxNetwork(weights, 1), SAMPLE, forms)
    assert network.runtime == "onnxruntime"
    assert "cannot be imported" in str(reason)
